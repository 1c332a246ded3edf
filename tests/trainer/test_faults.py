"""Real processes killed at random moments, and a disk that is really full while a checkpoint is written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory import storage
from llama_factory.errors import MachineError
from llama_factory.trainer import fit

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("LLAMA_FACTORY_KILLS", "40"))
FOREVER = 10**6
BITS = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")


class Server:
    """Starts runs in processes that have torch already."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.acknowledged = folder / "run", folder / "acknowledged"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def start(self, max_steps: int) -> int:
        order = {"folder": str(self.folder), "acknowledged": str(self.acknowledged), "max_steps": max_steps}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        return self._read()

    def steps(self) -> list[int]:
        """Steps whose save was acknowledged so far."""
        return [int(line) for line in self.acknowledged.read_text().split()] if self.acknowledged.exists() else []

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


def bits(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in BITS]


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_that_the_run_goes_on_from(
    server: Server, tmp_path: Path
) -> None:
    moments = random.Random(7)
    newest, useful = 0, 0
    for _ in range(KILLS):
        before = server.steps()
        pid = server.start(FOREVER)
        time.sleep(moments.uniform(0.0, 0.5))
        os.kill(pid, signal.SIGKILL)
        assert server.wait() == signal.SIGKILL
        made = server.steps()[len(before) :]
        found, broken = storage.find_newest(server.folder)
        assert not broken, "a checkpoint can be seen before it is whole"
        reached = int(found.name.removeprefix("checkpoint-")) if found else 0
        assert made == list(range(newest + 1, newest + 1 + len(made))), "the run went on from another step"
        assert reached >= max(made, default=newest), "an acknowledged checkpoint is gone"
        assert reached <= newest + len(made) + 1
        useful += bool(made)
        newest = reached
    assert useful >= KILLS // 4, "the kills came too early to mean anything"
    server.start(newest + 1)
    assert server.wait() == 0
    alone = toy_checkpoints(tmp_path / "alone")
    plan = toy_plan(max_steps=newest + 1, lr_scheduler_type="constant", save_steps=FOREVER)
    fit(ToyPolicy(dropout=0.2), toy_source(), objective, plan, checkpoints=alone)
    assert bits(server.folder / f"checkpoint-{newest + 1}") == bits(alone.at(newest + 1))
    hidden = [path.name for path in server.folder.iterdir() if path.name.startswith(".")]
    assert hidden == [], "litter of dead processes stays"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 320 kB: about five checkpoints of the toy."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small file system can only be mounted by root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_saving_is_a_letter_and_the_earlier_checkpoints_stay_whole(
    small_disk: Path, tmp_path: Path
) -> None:
    output = small_disk / "out"
    with pytest.raises(MachineError) as caught:
        fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(), checkpoints=toy_checkpoints(output))
    assert (caught.value.id, caught.value.exit_code) == ("storage.full", 4)
    assert "the disk is full" in caught.value.letter()
    kept = storage.numbered(output)
    assert len(kept) >= 2
    for folder in kept:
        storage.verify(folder)
    assert sorted(path.name for path in output.iterdir()) == sorted(path.name for path in kept)
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    result = fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(), checkpoints=toy_checkpoints(output))
    assert result.first_step == len(kept)
    whole = toy_checkpoints(tmp_path / "whole")
    fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(save_steps=100), checkpoints=whole)
    assert bits(output / "checkpoint-40") == bits(whole.at(40))
