"""A writer that saves every few milliseconds is killed at random moments. Prints what was found as JSON.

    python random_kills.py FOLDER KILLS SEED

Each life of the writer goes on where the newest whole checkpoint stands, as a training run does:
a checkpoint a step with two kept, a line in a log, files published into the folder, a folder that is
replaced, all under the lock. A step counts as promised once the writer has said so through a pipe.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from itertools import count
from pathlib import Path

from scenarios import litter, whole, writer

from llama_factory import storage


def live(root: Path, pipe: int) -> None:
    with storage.Lock(root):
        storage.sweep(root)
        newest, _ = storage.find_newest(root)
        first = 1 + (int(newest.name.removeprefix("checkpoint-")) if newest else 0)
        for step in count(first):
            storage.write_directory(root / f"checkpoint-{step}", writer(step))
            os.write(pipe, step.to_bytes(4, "big"))
            storage.retain(root, 2)
            storage.append_line(root / "log.jsonl", json.dumps({"step": step}))
            storage.publish_files(root, writer(step, ("a.bin", f"b{step % 3}.bin")))
            storage.write_directory(root / "latest", writer(step), replace=True)


def one_life(root: Path, moment_s: float) -> int:
    """Steps promised before the kill. The clock starts when the writer has promised something or died trying."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        live(root, writing)
    os.close(writing)
    select.select([reading], [], [], 5.0)
    time.sleep(moment_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the writer ended by itself: {status}"
    said = b""
    while block := os.read(reading, 4096):
        said += block
    os.close(reading)
    return int.from_bytes(said[-4:], "big")


def judge(root: Path, promised: int) -> dict[str, int]:
    torn = len(litter(root))
    storage.sweep(root)
    assert not litter(root), litter(root)
    newest, broken = storage.find_newest(root)
    assert newest is not None
    assert not broken, [str(item.error) for item in broken]
    found = whole(newest)
    assert newest.name == f"checkpoint-{found}"
    assert found is not None
    assert found >= promised, f"{promised} was promised, {found} is there"
    for path in storage.numbered(root):
        assert path.name == f"checkpoint-{whole(path)}"
    storage.retain(root, 2)
    assert storage.numbered(root)[0] == newest
    assert len(storage.numbered(root)) <= 2
    whole(root / "latest")
    without = not (root / "MANIFEST.json").exists()
    if not without:
        whole(root)
    log = root / "log.jsonl"
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()] if log.exists() else []
    assert steps == sorted(set(steps))
    return {"with litter": int(torn > 0), "between two publications": int(without)}


def main() -> None:
    root, kills, dice = Path(sys.argv[1]) / "run", int(sys.argv[2]), random.Random(int(sys.argv[3]))
    root.mkdir()
    found = {"kills": 0, "with litter": 0, "between two publications": 0}
    promised = 0
    for _ in range(kills):
        promised = max(promised, one_life(root, dice.uniform(0, 0.03)))
        for key, number in judge(root, promised).items():
            found[key] += number
        found["kills"] += 1
    print(json.dumps({**found, "steps": promised}))


if __name__ == "__main__":
    main()
