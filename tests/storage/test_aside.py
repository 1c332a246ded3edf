"""Hidden folders of living processes are left alone, those of dead ones go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llama_factory import storage
from llama_factory.storage import aside as room
from llama_factory.storage import owner

HOLD = """
import sys, time
from pathlib import Path
from llama_factory.storage.aside import aside
with aside(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "model").mkdir()
    (folder / "model" / "x").write_text("old")
    print("made", flush=True)
    time.sleep(60)
"""


def dead_one(folder: Path, kind: str) -> None:
    process = alive_one(folder, kind)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def alive_one(folder: Path, kind: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), kind], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "made\n"
    return process


def disguise(folder: Path, **changes: object) -> Path:
    """As if the owner of the one hidden folder had been another one."""
    (hidden,) = folder.glob(".*")
    kind, who, nonce = hidden.name.split("-")
    known = owner.parse(who)
    assert known
    return hidden.rename(hidden.with_name(f"{kind}-{replace(known, **changes)}-{nonce}"))  # type: ignore[arg-type]


def test_a_living_process_is_left_alone_and_a_dead_one_is_swept(tmp_path: Path) -> None:
    process = alive_one(tmp_path, "writing")
    assert storage.sweep(tmp_path) == []
    process.kill()
    (hidden,) = tmp_path.iterdir()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has collected it yet
    assert storage.sweep(tmp_path) == [hidden.name]
    assert list(tmp_path.iterdir()) == []
    process.communicate()


def test_what_a_dead_process_had_moved_away_comes_home(tmp_path: Path) -> None:
    dead_one(tmp_path, "replaced")
    storage.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "x").read_text() == "old"


def test_what_has_a_successor_does_not_come_home(tmp_path: Path) -> None:
    dead_one(tmp_path, "replaced")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").write_text("new")
    storage.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "x").read_text() == "new"


def test_half_removed_folders_go_whoever_lives(tmp_path: Path) -> None:
    hidden = tmp_path / room.hidden_name("removing")
    (hidden / "deep").mkdir(parents=True)
    (hidden / "deep" / "x").touch()
    (tmp_path / room.hidden_name("removing")).write_text("a file")
    assert len(storage.sweep(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{"namespace": "00000000"}, {"host": "00000000", "boot": "00000000"}])
def test_in_another_container_or_host_the_lock_tells_who_lives(tmp_path: Path, changes: dict[str, str]) -> None:
    process = alive_one(tmp_path, "writing")
    hidden = disguise(tmp_path, **changes)
    assert storage.sweep(tmp_path) == []
    process.kill()
    process.communicate()
    assert storage.sweep(tmp_path) == [hidden.name]


@pytest.mark.parametrize("changes", [{"namespace": "00000000"}, {"host": "00000000", "boot": "00000000"}])
def test_where_neither_lock_nor_process_table_can_tell_nothing_is_removed(
    tmp_path: Path, changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_one(tmp_path, "writing")
    disguise(tmp_path, **changes)
    monkeypatch.setattr(room, "take", lambda descriptor: None)
    assert storage.sweep(tmp_path) == []
    (owner_file,) = tmp_path.glob(".*/owner")
    owner_file.unlink()
    assert storage.sweep(tmp_path) == []


def test_the_same_host_started_again_has_no_process_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead_one(tmp_path, "writing")
    hidden = disguise(tmp_path, boot="00000000", pid=os.getpid())
    monkeypatch.setattr(room, "take", lambda descriptor: None)
    assert storage.sweep(tmp_path) == [hidden.name]


def test_a_pid_that_was_given_to_another_process_is_another_owner(tmp_path: Path) -> None:
    dead_one(tmp_path, "writing")
    hidden = disguise(tmp_path, pid=os.getpid())
    assert storage.sweep(tmp_path) == [hidden.name]


def test_names_that_only_look_similar_and_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").touch()
    for name in (
        ".writing-x",
        ".writing-1.2.3-00000000",
        ".git",
        ".removing",
        "writing-1.1.00000000.00000000.00000000-00000000",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / ".removing-1.1.00000000.00000000.00000000-00000000").symlink_to(tmp_path / "real")
    before = sorted(tmp_path.rglob("*"))
    assert storage.sweep(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert storage.sweep(tmp_path / "never") == []


def test_an_owner_survives_its_spelling() -> None:
    me = owner.myself()
    assert owner.parse(str(me)) == me
    assert owner.lives(me) is True
    assert me.start > 0
    assert owner.parse("1.2.3") is None


def test_a_folder_beside_a_result_is_empty_hidden_and_gone_when_the_block_is_left(tmp_path: Path) -> None:
    target = tmp_path / "saves" / "deep" / "out"
    with storage.beside(target) as folder:
        assert list(folder.iterdir()) == []
        (folder / "x").write_text("x")
        (hidden,) = tmp_path.iterdir()  # nothing is made on the way to the target
        assert hidden.name.startswith(".writing-")
        assert hidden in folder.parents
    assert list(tmp_path.iterdir()) == []

    def fails() -> None:
        with storage.beside(target) as folder:
            (folder / "x").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_beside_a_result_does_not_touch_it_and_clears_what_the_dead_left(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    dead_one(tmp_path, "writing")
    before = target.stat().st_mtime_ns
    with storage.beside(target) as folder:
        assert target not in folder.parents
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_mtime_ns == before


def test_a_result_that_is_a_disk_of_its_own_has_the_folder_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # or the parent is closed to us
    with storage.beside(target) as folder:
        assert target in folder.parents
    assert list(target.iterdir()) == []


def test_why_nothing_can_be_written_is_known_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.refusal(tmp_path / "a" / "b") is None
    (tmp_path / "file").touch()
    below = storage.refusal(tmp_path / "file" / "b")
    assert below is not None
    assert (below.id, below.where) == ("storage.failed", str(tmp_path / "file"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    closed = storage.refusal(tmp_path / "a")
    assert closed is not None
    assert (closed.id, closed.where) == ("storage.refused", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
