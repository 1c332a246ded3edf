"""Writing and removing so that every name stands for something whole, or for nothing.

In: a target and a function that writes plain files into a given folder. Out: the target with its
manifest. The way is always: write aside, hash and sync each file, manifest, sync, rename, sync the
parent. A kill, a power loss or a full disk at any moment leaves the old state or the new one.
Deliberately knows nothing of what the bytes mean, and never writes into a file that is in use.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from llama_factory.errors import InputError, MachineError
from llama_factory.storage import manifest as manifests
from llama_factory.storage.aside import aside, erase, hidden_name
from llama_factory.storage.disk import (
    exchange,
    letters,
    letters_of_writer,
    make_folder,
    sync_descriptor,
    sync_folder,
    write_new,
)
from llama_factory.storage.manifest import NAME, Manifest

Writer = Callable[[Path], None]


def write_directory(target: Path, write: Writer, *, replace: bool = False) -> Manifest:
    """`target` becomes the folder that `write` filled. It must not exist, unless `replace`; an empty one may."""
    target = Path(os.path.realpath(target))
    with letters(target):
        if not replace:
            _must_be_free(target)
        make_folder(target.parent)
    with aside(target.parent, "writing") as room:
        fresh = room / target.name
        _fill(fresh, write, target)
        with letters(target):
            manifest = manifests.seal(fresh)
            if replace and os.path.lexists(target):
                _put_in_place_of(fresh, target)
            else:
                _put(fresh, target)
    return manifest


def publish_files(folder: Path, write: Writer, *, name: str = NAME) -> Manifest:
    """The same for files that join others in an existing folder.

    From the moment when the first file is exchanged until the last one is, the folder has no
    manifest. What the previous manifest listed and this one does not is removed: a shard of an
    older result must not be taken for a part of this one.
    """
    folder = Path(os.path.realpath(folder))
    with letters(folder):
        make_folder(folder)
    with aside(folder, "writing") as room:
        fresh = room / "new"
        _fill(fresh, write, folder)
        with letters(folder):
            manifest = manifests.seal(fresh, name)
            _exchange_files(fresh, folder, manifest, name)
    return manifest


def write_file(path: Path, data: bytes | str) -> None:
    """One file, whole or as it was before."""
    path = Path(os.path.realpath(path))
    with letters(path):
        make_folder(path.parent)
    with aside(path.parent, "writing") as room, letters(path):
        fresh = room / path.name
        write_new(fresh, data.encode() if isinstance(data, str) else data)
        os.replace(fresh, path)
        sync_folder(path.parent)


def write_stream(path: Path, write: Callable[[BinaryIO], None], *, replace: bool = False) -> None:
    """One file of any size, written as it comes: whole once `write` has returned, until then as it was before.

    It must not exist, unless `replace`.
    """
    path = Path(os.path.realpath(path))
    with letters(path):
        if path.is_dir() or (not replace and os.path.lexists(path)):
            raise InputError("storage.exists", where=path)
        make_folder(path.parent)
    with aside(path.parent, "writing") as room:
        fresh = room / path.name
        with letters_of_writer(path, room), fresh.open("xb") as file:
            write(file)
            file.flush()
            sync_descriptor(file.fileno())
        with letters(path):
            if replace:
                os.replace(fresh, path)
            else:
                _name_anew(fresh, path)
            sync_folder(path.parent)


def append_line(path: Path, text: str) -> None:
    """One line at the end of a log that has one writer: the whole line, or the file as it was.

    Not synced: a log of every step may lose its last lines to a power loss, not to a kill. The rest
    of a line that a crash tore is closed first, so that it spoils no other.
    """
    line = text.rstrip("\n").encode() + b"\n"
    with letters(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            try:
                while line:  # the second round of a line that did not fit tells why
                    line = line[os.write(descriptor, line) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


def remove_directory(path: Path) -> None:
    """First out of sight in one step, then deleted: nobody ever sees half of it. Nothing there is fine.

    Needs no space: it works on a full disk.
    """
    path = Path(os.path.abspath(path))
    with letters(path):
        if os.path.lexists(path):
            hidden = path.with_name(hidden_name("removing"))
            os.rename(path, hidden)
            _sync_or_undo(path.parent, lambda: os.rename(hidden, path))
            erase(hidden)


def set_aside(path: Path) -> Path:
    """Rename a broken folder to `name.broken`, so that its name is free and its content can be looked at."""
    path = Path(os.path.abspath(path))
    number = 1
    while os.path.lexists(new := path.with_name(f"{path.name}.broken" + (f"-{number}" if number > 1 else ""))):
        number += 1
    with letters(path):
        os.rename(path, new)
        sync_folder(path.parent)
    return new


def _must_be_free(target: Path) -> None:
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise InputError("storage.exists", where=target)


def _fill(fresh: Path, write: Writer, target: Path) -> None:
    with letters_of_writer(target, fresh):
        fresh.mkdir()
        write(fresh)


def _put(fresh: Path, target: Path) -> None:
    try:
        os.rename(fresh, target)  # onto an empty folder this succeeds, onto a full one it cannot
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise InputError("storage.exists", where=target) from error
        raise
    _sync_or_undo(target.parent, lambda: os.rename(target, fresh))


def _name_anew(fresh: Path, path: Path) -> None:
    """Give a file a name that nobody has taken meanwhile."""
    try:
        os.link(fresh, path)
    except FileExistsError as error:
        raise InputError("storage.exists", where=path) from error
    except OSError as error:  # a file system without links
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        os.replace(fresh, path)


def _put_in_place_of(fresh: Path, target: Path) -> None:
    """In one step where the system can; else in two, and the old one goes home if we fail or die between them."""
    if exchange(fresh, target):
        _sync_or_undo(target.parent, lambda: exchange(fresh, target))
        return
    with aside(target.parent, "replaced") as room:
        sync_folder(room.parent)
        sync_folder(target.parent)  # the hiding place must last before anything is hidden in it
        os.rename(target, room / target.name)
        sync_folder(room)
        _put(fresh, target)


def _sync_or_undo(parent: Path, undo: Callable[[], object]) -> None:
    """A rename that the disk does not take is no rename."""
    try:
        sync_folder(parent)
    except OSError:
        with suppress(OSError):
            undo()
        raise


def _exchange_files(fresh: Path, folder: Path, manifest: Manifest, name: str) -> None:
    for inside in manifest.files:
        if (folder / inside).is_dir():
            raise InputError("storage.exists", where=folder / inside)
    try:
        stale = set(manifests.read(folder, name).files) - set(manifest.files)
    except MachineError:
        stale = set()
    if os.path.lexists(folder / name):
        os.unlink(folder / name)
        sync_folder(folder)
    for inside in stale:
        (folder / inside).unlink(missing_ok=True)
    touched = {folder}
    for inside in manifest.files:
        home = folder / inside
        make_folder(home.parent)
        os.replace(fresh / inside, home)
        touched.add(home.parent)
    for touched_folder in sorted(touched):
        sync_folder(touched_folder)
    os.replace(fresh / name, folder / name)
    sync_folder(folder)
