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
_CONTENT = "files"
_NAME = re.compile(r"\.(writing|removing|replaced)-([0-9a-f.]+)-[0-9a-f]{8}")


def hidden_name(kind: Kind) -> str:
    return f".{kind}-{owner.myself()}-{secrets.token_hex(4)}"


@contextmanager
def aside(parent: Path, kind: Literal["writing", "replaced"]) -> Iterator[Path]:
    """An empty folder, hidden in `parent`. When the block is left it goes, with all that is still in it.

    Of kind "replaced": what it holds goes home first, unless its place was taken by its successor.
    """
    room = parent / hidden_name(kind)
    descriptor = None
    with letters(parent):
        room.mkdir()
    try:
        with letters(parent):
            descriptor = os.open(room / _OWNER_FILE, os.O_RDWR | os.O_CREAT, 0o644)
            take(descriptor)
            (room / _CONTENT).mkdir()
        yield room / _CONTENT
    finally:
        with suppress(OSError):
            _end(room, kind)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """An empty hidden folder where a result at `target` would be written; `target` itself is not touched.

    It lies in the nearest folder above that exists, so that it meets the same disk. Only where `target` is there
    and that folder is another disk, or closed to us, it lies inside.
    """
    target = Path(os.path.realpath(target))
    parent = next(folder for folder in target.parents if folder.is_dir())
    if target.is_dir() and (target.stat().st_dev != parent.stat().st_dev or not os.access(parent, os.W_OK)):
        parent = target
    sweep(parent)
    with aside(parent, "writing") as room:
        yield room


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


def erase(path: Path) -> None:
    """A file that resists stays where it is, as litter for a later sweep."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> list[str]:
    """Remove what dead processes left in `folder`, put back what they had moved away; name what was removed."""
    done: list[str] = []
    if not folder.is_dir():
        return done
    for room in sorted(folder.iterdir()):
        found = _NAME.fullmatch(room.name)
        if not found or room.is_symlink():
            continue
        kind, made_by = found[1], owner.parse(found[2])
        if made_by is None or (kind != "removing" and not _is_dead(room, made_by)):
            continue
        with suppress(OSError):
            _end(room, kind)
        if not room.exists():
            done.append(room.name)
    return done


def _end(room: Path, kind: str) -> None:
    """The mark of the owner goes last: until then nobody else thinks the rest abandoned without asking it."""
    if kind == "replaced":
        _put_back(room / _CONTENT, room.parent)
    if kind != "removing":
        erase(room / _CONTENT)
    erase(room)


def _put_back(content: Path, folder: Path) -> None:
    """A replacement that failed or died between its two renames: the old one is the only one there is."""
    for child in content.iterdir() if content.is_dir() else ():
        if not os.path.lexists(folder / child.name):
            os.rename(child, folder / child.name)
            sync_folder(folder)


def _is_dead(room: Path, made_by: owner.Owner) -> bool:
    lives = owner.lives(made_by)
    if lives:
        return False
    try:
        descriptor = os.open(room / _OWNER_FILE, os.O_RDWR)
    except OSError:
        taken = None
    else:
        try:
            taken = take(descriptor)
        finally:
            os.close(descriptor)
    return lives is False if taken is None else taken
