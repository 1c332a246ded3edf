"""What the campaigns do to `storage`, and which states they may find afterwards.

Each scenario prepares a folder, acts once on it, and judges what it finds: the old state, the new
one, or a fault. The contents are a function of a version number, so that a mixture is seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llama_factory import storage
from llama_factory.storage import commit

STRANGER = b"a file of the user"


def content(version: int, name: str) -> bytes:
    seed = hashlib.sha256(f"{version}/{name}".encode()).digest()
    return seed * (1 + (version * 37 + len(name) * 11) % 300)


def writer(
    version: int, names: tuple[str, ...] = ("weights.bin", "state.json", "deep/er/notes")
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as file:
                file.write(content(version, name))

    return write


def whole(folder: Path) -> int | None:
    """The version that the folder holds, None when it does not exist; anything else is a fault."""
    if not folder.exists():
        return None
    manifest = storage.verify(folder)
    found = {name: (folder / name).read_bytes() for name in manifest.files}
    for version in range(1, 10_000):
        if next(iter(found.values())) == content(version, next(iter(found))):
            assert all(data == content(version, name) for name, data in found.items()), "a mixture"
            return version
    raise AssertionError("content that nobody wrote")


def litter(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]


@dataclass(frozen=True)
class Scenario:
    """judge: "old" or "new", or "between" where the contract allows it; raises for anything else."""

    prepare: Callable[[Path], object]
    act: Callable[[Path], object]
    judge: Callable[[Path], str]


def _one_of(found: int | None, old: int | None, new: int | None) -> str:
    assert found in (old, new), f"found {found}, legal are {old} and {new}"
    return "new" if found == new else "old"


def _replace_in_two_steps(root: Path) -> None:
    real, commit.exchange = commit.exchange, lambda one, other: False
    try:
        storage.write_directory(root / "model", writer(2), replace=True)
    finally:
        commit.exchange = real


def _prepare_run(root: Path) -> None:
    for step in (1, 2):
        storage.write_directory(root / f"checkpoint-{step}", writer(step))


def _next_checkpoint(root: Path) -> None:
    storage.write_directory(root / "checkpoint-3", writer(3))
    storage.retain(root, 2)


def _judge_run(root: Path) -> str:
    newest, broken = storage.find_newest(root)
    assert not broken, [str(item.error) for item in broken]
    assert newest is not None
    assert newest.name == f"checkpoint-{whole(newest)}"
    steps = [int(path.name.removeprefix("checkpoint-")) for path in storage.numbered(root)]
    assert steps in ([2, 1], [3, 2, 1], [3, 2]), steps
    return {(2, 1): "old", (3, 2): "new"}.get(tuple(steps), "between")


def _prepare_published(root: Path) -> None:
    (root / "mine.txt").write_bytes(STRANGER)
    storage.publish_files(root, writer(1, ("a", "b", "sub/c")))


def _judge_published(root: Path) -> str:
    assert (root / "mine.txt").read_bytes() == STRANGER
    return _one_of(whole(root), 1, 2) if (root / "MANIFEST.json").exists() else "between"


def _judge_file(root: Path) -> str:
    found = (root / "state.json").read_bytes()
    assert found in (content(1, "state"), content(2, "state"))
    return "new" if found == content(2, "state") else "old"


def _streamed(file: BinaryIO) -> None:
    data = content(2, "state")
    for at in range(0, len(data), 100):
        file.write(data[at : at + 100])


SCENARIOS = {
    "first folder": Scenario(
        prepare=lambda root: None,
        act=lambda root: storage.write_directory(root / "model", writer(2)),
        judge=lambda root: _one_of(whole(root / "model"), None, 2),
    ),
    "next checkpoint, oldest removed": Scenario(_prepare_run, _next_checkpoint, _judge_run),
    "replace": Scenario(
        prepare=lambda root: storage.write_directory(root / "model", writer(1)),
        act=lambda root: storage.write_directory(root / "model", writer(2), replace=True),
        judge=lambda root: _one_of(whole(root / "model"), 1, 2),
    ),
    "replace in two steps": Scenario(
        prepare=lambda root: storage.write_directory(root / "model", writer(1)),
        act=_replace_in_two_steps,
        judge=lambda root: _one_of(whole(root / "model"), 1, 2),
    ),
    "publish": Scenario(
        prepare=_prepare_published,
        act=lambda root: storage.publish_files(root, writer(2, ("a", "b", "d"))),
        judge=_judge_published,
    ),
    "write file": Scenario(
        prepare=lambda root: storage.write_file(root / "state.json", content(1, "state")),
        act=lambda root: storage.write_file(root / "state.json", content(2, "state")),
        judge=_judge_file,
    ),
    "write stream": Scenario(
        prepare=lambda root: storage.write_file(root / "state.json", content(1, "state")),
        act=lambda root: storage.write_stream(root / "state.json", _streamed, replace=True),
        judge=_judge_file,
    ),
    "remove": Scenario(
        prepare=lambda root: storage.write_directory(root / "model", writer(1)),
        act=lambda root: storage.remove_directory(root / "model"),
        judge=lambda root: _one_of(whole(root / "model"), 1, None),
    ),
}


class Operations:
    """Every operation on files of this process, seen before it happens: Python's audit events, and fsync.

    An audit hook cannot be taken away, so the campaigns run in processes of their own.
    """

    WATCHED = frozenset(
        {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.scandir", "exchange"}
    )

    def __init__(self, meet: Callable[[str, tuple[object, ...]], None]) -> None:
        import sys

        self.on = False
        self._meet = meet
        self._real_fsync = os.fsync
        self._real_exchange = commit.exchange
        os.fsync = self._fsync
        commit.exchange = self._exchange
        sys.addaudithook(self._hook)

    def _hook(self, event: str, values: tuple[object, ...]) -> None:
        if self.on and event in self.WATCHED:
            self._tell(event, values)

    def _fsync(self, descriptor: int) -> None:
        if self.on:
            self._tell("fsync", (descriptor,))
        self._real_fsync(descriptor)

    def _exchange(self, one: Path, other: Path) -> bool:
        if self.on:
            self._tell("exchange", (one, other))
        return self._real_exchange(one, other)

    def _tell(self, event: str, values: tuple[object, ...]) -> None:
        self.on = False
        try:
            self._meet(event, values)
        finally:
            self.on = True
