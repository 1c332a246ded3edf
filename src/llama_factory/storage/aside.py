"""Hidden folders in which things are made, or wait for their end, and the removal of dead ones.

In: the folder that will hold the result. Out: a hidden folder beside it, on the same file system,
that nobody else sweeps while its owner lives. Its name tells the owner; an open lock on the file
`owner` inside says "alive" even to a process in another container or on another host.
Deliberately removes nothing of which it is not sure that the owner is dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from llama_factory.storage import owner
from llama_factory.storage.disk import letters, sync_folder

Kind = Literal["writing", "removing", "replaced"]

_OWNER_FILE = "owner"
_NAME = re.compile(r"\.(writing|removing|replaced)-([0-9a-f.]+)-[0-9a-f]{8}")


@contextmanager
def aside(parent: Path, kind: Kind) -> Iterator[Path]:
    """A hidden folder in `parent`; gone, with all that is still in it, when the block is left."""
    room = parent / f".{kind}-{owner.myself()}-{secrets.token_hex(4)}"
    with letters(parent):
        room.mkdir()
    descriptor = None
    try:
        with letters(parent):
            descriptor = os.open(room / _OWNER_FILE, os.O_RDWR | os.O_CREAT, 0o644)
            take(descriptor)
        yield room
    finally:
        erase(room)
        if descriptor is not None:
            os.close(descriptor)


def take(descriptor: int) -> bool | None:
    """Lock an open file without waiting: True taken, False someone holds it, None: no locks on this file system."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}:
            return None
        raise
    return True


def erase(room: Path) -> None:
    """The mark of the owner goes last. A file that resists stays as litter for a later sweep."""
    with suppress(OSError):
        for child in list(os.scandir(room)):
            if child.name == _OWNER_FILE:
                continue
            if child.is_dir(follow_symlinks=False):
                shutil.rmtree(child.path, ignore_errors=True)
            else:
                os.unlink(child.path)
        with suppress(FileNotFoundError):
            os.unlink(room / _OWNER_FILE)
        os.rmdir(room)


def sweep(folder: Path) -> list[str]:
    """Remove what dead processes left in `folder`, put back what they had moved away; say what was done."""
    done: list[str] = []
    if not folder.is_dir():
        return done
    for room in sorted(folder.iterdir()):
        found = _NAME.fullmatch(room.name)
        if not found or not room.is_dir() or not _is_dead(room, found[2]):
            continue
        with suppress(OSError):
            if found[1] == "replaced":
                done += _put_back(room, folder)
            erase(room)
        if not room.exists():
            done.append(room.name)
    return done


def _put_back(room: Path, folder: Path) -> list[str]:
    """A replacement that died between its two renames: the old one is the only one there is."""
    back = []
    for child in room.iterdir():
        home = folder / child.name
        if child.name != _OWNER_FILE and not os.path.lexists(home):
            os.rename(child, home)
            back.append(child.name)
    sync_folder(folder)
    return back


def _is_dead(room: Path, name: str) -> bool:
    made_by = owner.parse(name)
    if made_by is None:
        return False
    lives = owner.lives(made_by)
    if lives:
        return False
    try:
        descriptor = os.open(room / _OWNER_FILE, os.O_RDWR)
    except OSError:
        taken = None
    else:
        taken = take(descriptor)
        os.close(descriptor)
    if taken is None:  # no word from the lock: believe the process table, or that the same host was started again
        return lives is False or made_by.host == owner.myself().host
    return taken
