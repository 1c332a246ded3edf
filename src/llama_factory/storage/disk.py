"""The few words that the room says to the operating system.

In: paths and descriptors. Out: hashes, synced files, and every failure of a disk as a letter.
Deliberately knows nothing of manifests, hidden folders or locks.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llama_factory.errors import LlamaFactoryError, MachineError

BLOCK_BYTES = 4 << 20

_SYNC_UNKNOWN = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS}
"""Some network file systems know no fsync: there is nothing better to do than to go on."""

_LETTERS = {
    errno.ENOSPC: "storage.full",
    errno.EDQUOT: "storage.full",
    errno.EROFS: "storage.refused",
    errno.EACCES: "storage.refused",
    errno.EPERM: "storage.refused",
    errno.EFBIG: "storage.too-large",
    errno.EMFILE: "storage.too-many-open",
    errno.ENFILE: "storage.too-many-open",
    errno.EIO: "storage.failed",
}
_RUST_ERRNO = re.compile(r"\(os error (\d+)\)")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def hash_file(path: Path, *, sync: bool = False) -> tuple[int, str]:
    """Size and sha256 of what the file holds now; with `sync`, also forced onto the disk."""
    hasher = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as file:
        block = memoryview(bytearray(min(BLOCK_BYTES, os.fstat(file.fileno()).st_size + 1)))
        while count := file.readinto(block):
            hasher.update(block[:count])
            size += count
        if sync:
            sync_descriptor(file.fileno())
    return size, hasher.hexdigest()


def sync_descriptor(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _SYNC_UNKNOWN:
            raise


def sync_folder(folder: Path) -> None:
    """Without this a rename may be forgotten by a power loss though the files are safe."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_descriptor(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """`mkdir -p` that survives a power loss."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """A new file with these bytes, on the disk when this returns."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        sync_descriptor(file.fileno())


def walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below `folder`, deepest first, links not followed."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        yield Path(entry.path), entry.stat(follow_symlinks=False)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one indivisible step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def free_bytes(path: Path) -> int:
    """Free space for files that would be written at `path`, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def refusal(path: Path) -> MachineError | None:
    """Why nothing can be written at `path`, which need not exist yet, as far as that shows without writing."""
    path = Path(os.path.abspath(path))
    while not os.path.lexists(path):
        path = path.parent
    if not path.is_dir():
        return as_letter(errno.ENOTDIR, path, os.strerror(errno.ENOTDIR))
    if not os.access(path, os.W_OK | os.X_OK):
        return as_letter(errno.EACCES, path, os.strerror(errno.EACCES))
    return None


def kind_of(mode: int) -> str:
    """The kind of a thing that is not a plain file, for a letter."""
    return "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"


@contextmanager
def letters(path: Path) -> Iterator[None]:
    """An `OSError` of our own operations at `path`, as a letter."""
    try:
        yield
    except OSError as error:
        raise as_letter(error.errno or 0, path, error.strerror or str(error)) from error


@contextmanager
def letters_of_writer(target: Path, fresh: Path) -> Iterator[None]:
    """What a given writer may meet in `fresh`: trouble with the disk becomes a letter about `target`.

    Everything else stays what it is. Libraries written in Rust raise their own kinds of exception,
    with the number inside the text. A file elsewhere, which the writer wanted to read, is named itself.
    """
    try:
        yield
    except LlamaFactoryError:
        raise
    except Exception as error:  # of whatever class: raised again as it is unless it tells of the disk
        number = error.errno if isinstance(error, OSError) else None
        if found := _RUST_ERRNO.search(str(error)):
            number = int(found.group(1))
        if number not in _LETTERS:
            raise
        named = error.filename if isinstance(error, OSError) else None
        elsewhere = Path(named) if isinstance(named, str) and not Path(named).is_relative_to(fresh) else None
        raise as_letter(number, elsewhere or target, os.strerror(number)) from error


def as_letter(number: int, path: Path, reason: str) -> MachineError:
    id = _LETTERS.get(number, "storage.failed")
    if id == "storage.full":
        try:
            free = human(free_bytes(path))
        except OSError:
            free = "?"
        return MachineError(id, where=path, free=free)
    return MachineError(id, where=path, reason=reason)


def human(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
