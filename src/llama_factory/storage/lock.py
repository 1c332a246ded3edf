"""One process a folder.

In: a folder. Out: the right to write in it for the length of a `with` block. The right is an open
`flock`: the kernel takes it back when the process ends, however it ends, and a second path to the
same folder meets the same lock. The lock file says who holds it.
Deliberately never breaks a lock and never waits.
"""

from __future__ import annotations

import json
import os
import platform
import time
import weakref
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

from llama_factory.errors import MachineError
from llama_factory.storage import owner
from llama_factory.storage.aside import take
from llama_factory.storage.disk import letters, make_folder

NAME = ".lock"
_held: weakref.WeakSet[Lock] = weakref.WeakSet()
_fork_is_watched = False


class Lock:
    """`with Lock(folder): ...`; `storage.locked` names the process that was first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._descriptor: int | None = None

    def __enter__(self) -> Lock:
        with letters(self.folder):
            make_folder(Path(os.path.realpath(self.folder)))
            self._descriptor = self._acquire()
            try:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, json.dumps(_card()).encode(), 0)
            except OSError:
                self.forget()
                raise
        _watch_fork()
        _held.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.unlink(self._path)  # while still held: whoever opened it before will see that it is gone
            self.forget()

    def forget(self) -> None:
        """Close without unlocking. A forked child does so: the lock is its parent's, and must end with it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _held.discard(self)

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            taken = take(descriptor)
            if taken is None:  # no locks on this file system: the card is all there is
                taken = _holder_is_gone(_read_card(self._path))
            if not taken:
                os.close(descriptor)
                raise self._locked()
            if _same_file(descriptor, self._path):
                return descriptor
            os.close(descriptor)  # removed by its last holder between our open and our lock

    def _locked(self) -> MachineError:
        """The winner may still be writing its card: give it a moment."""
        card: dict[str, object] = {}
        for _ in range(20):
            card = _read_card(self._path)
            if card:
                break
            time.sleep(0.01)
        return MachineError(
            "storage.locked",
            where=self.folder,
            pid=card.get("pid", "?"),
            host=card.get("host", "?"),
            since=card.get("since", "?"),
        )


def _card() -> dict[str, object]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "since": since, "owner": str(owner.myself())}


def _read_card(path: Path) -> dict[str, object]:
    try:
        card = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _holder_is_gone(card: dict[str, object]) -> bool:
    holder = owner.parse(str(card.get("owner", "")))
    return holder is None or owner.lives(holder) is False


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _watch_fork() -> None:
    global _fork_is_watched
    if not _fork_is_watched:
        os.register_at_fork(after_in_child=_forget_all)
        _fork_is_watched = True


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
