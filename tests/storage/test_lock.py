"""One process a folder, and death opens the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llama_factory import storage
from llama_factory.errors import MachineError
from llama_factory.storage import lock as room

HOLD = """
import sys, time
from pathlib import Path
from llama_factory import storage
with storage.Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

RACE = """
import sys, time
from pathlib import Path
from llama_factory import storage
from llama_factory.errors import MachineError
for line in sys.stdin:
    try:
        with storage.Lock(Path(sys.argv[1])):
            print("won", flush=True)
            sys.stdin.readline()
    except MachineError as error:
        print("lost", error.id, error.values["pid"], flush=True)
        sys.stdin.readline()
    print("left", flush=True)
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    return process.stdout.readline().split()


def test_the_second_is_told_who_was_first(tmp_path: Path) -> None:
    with storage.Lock(tmp_path), pytest.raises(MachineError) as caught, storage.Lock(tmp_path):
        pytest.fail("both hold it")
    assert caught.value.id == "storage.locked"
    assert caught.value.exit_code == 4
    assert caught.value.values["pid"] == os.getpid()
    assert str(os.getpid()) in caught.value.letter("zh")


def test_what_was_released_can_be_taken_again_and_leaves_nothing(tmp_path: Path) -> None:
    lock = storage.Lock(tmp_path / "run")
    for _ in range(3):
        with lock:
            assert json.loads((tmp_path / "run" / ".lock").read_bytes())["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_links_and_relative_paths_lead_to_the_same_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    with storage.Lock(tmp_path / "run"):
        for path in (tmp_path / "link", Path("run"), Path("./link/../run")):
            with pytest.raises(MachineError), storage.Lock(path):
                pytest.fail("both hold it")


@pytest.mark.faults
def test_of_two_starts_at_once_exactly_one_wins_two_hundred_times(tmp_path: Path) -> None:
    one, two = start(RACE, tmp_path / "run"), start(RACE, tmp_path / "run")
    wins = {one.pid: 0, two.pid: 0}
    for round_ in range(200):
        for process in (one, two) if round_ % 2 else (two, one):
            tell(process)
        said = {process.pid: hear(process) for process in (one, two)}
        winners = [pid for pid, words in said.items() if words == ["won"]]
        assert len(winners) == 1, said
        (loser,) = (words for words in said.values() if words != ["won"])
        assert loser == ["lost", "storage.locked", str(winners[0])]
        wins[winners[0]] += 1
        for process in (one, two):
            tell(process)
            assert hear(process) == ["left"]
    for process in (one, two):
        process.communicate()
    assert sum(wins.values()) == 200


@pytest.mark.faults
def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        holder = start(HOLD, tmp_path)
        assert hear(holder) == ["held"]
        with pytest.raises(MachineError) as caught, storage.Lock(tmp_path):
            pytest.fail("both hold it")
        assert caught.value.values["pid"] == holder.pid
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
        begin = time.monotonic()
        with storage.Lock(tmp_path):
            assert time.monotonic() - begin < 2


@pytest.mark.faults
def test_a_forked_child_that_survives_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    code = HOLD.replace(
        "    print(", "    import os\n    if os.fork():\n        time.sleep(60)\n    print("
    )  # the child speaks
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert hear(holder) == ["held"]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with storage.Lock(tmp_path):
        pass
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()


def test_a_lock_file_without_a_lock_is_only_a_file(tmp_path: Path) -> None:
    for content in ("", "{", "[]", json.dumps({"pid": 1, "owner": "1.1.00000000.00000000.00000000"})):
        (tmp_path / ".lock").write_text(content)
        with storage.Lock(tmp_path):
            pass


def test_without_locks_in_the_file_system_the_card_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "take", lambda descriptor: None)
    with storage.Lock(tmp_path), pytest.raises(MachineError), storage.Lock(tmp_path):
        pytest.fail("both hold it")
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / ".lock").write_text(
        json.dumps({"pid": dead.pid, "owner": f"{dead.pid}.1.{str(room.owner.myself()).split('.', 2)[2]}"})
    )
    with storage.Lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_letter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError) as caught, storage.Lock(tmp_path / "file" / "run"):
        pytest.fail("held")
    assert caught.value.id == "storage.failed"
