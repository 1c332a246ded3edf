"""What kind a data file is, by its name, and its bytes without `.gz` or `.zst` around them.

In: a path. Out: its kind, or a stream of its plain bytes; parquet and arrow are read from their end, so a
packed one is unpacked into a nameless temporary file that is gone when it is closed. A packed file that ends
too early is an error and never the end of the data. It deliberately looks at no content to guess a kind.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple, cast

from llama_factory.errors import MachineError

Kind = Literal["json", "csv", "parquet", "arrow", "txt"]
KINDS: Mapping[str, Kind] = {
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "txt",
}
PACKED = (".gz", ".zst")
SUFFIXES = (*KINDS, *(suffix + packed for packed in PACKED for suffix in KINDS))
CHUNK_BYTES = 2**18


class Named(NamedTuple):
    """What a file's name says: `a.csv.gz` is ("csv", ".csv", ".gz")."""

    kind: Kind
    suffix: str
    packed: str


class Damaged(Exception):
    """Packed bytes that cannot be unpacked; `reading` makes the letter, for it knows the name to show."""


def named(name: str) -> Named | None:
    """None for a file that is no data, as far as its name says."""
    path = Path(name.lower())
    packed = path.suffix if path.suffix in PACKED else ""
    suffix = Path(path.stem).suffix if packed else path.suffix
    kind = KINDS.get(suffix)
    return Named(kind, suffix, packed) if kind else None


def plain(path: Path) -> BinaryIO:
    """A stream of the unpacked bytes, from the first on. Whoever reads it meets `Damaged` where packing is broken."""
    unpack = UNPACK.get(path.suffix.lower())
    return path.open("rb") if unpack is None else io.BufferedReader(unpack(path), CHUNK_BYTES)


def seekable(path: Path) -> BinaryIO:
    """The unpacked bytes in a file that can be read from any place."""
    if path.suffix.lower() not in PACKED:
        return path.open("rb")
    aside = cast("BinaryIO", tempfile.TemporaryFile(prefix="llama_factory-"))  # noqa: SIM115 - the caller closes it
    try:
        with plain(path) as source:
            shutil.copyfileobj(source, aside, CHUNK_BYTES)
        aside.seek(0)
    except BaseException:  # an interruption too must not leave the file open
        aside.close()
        raise
    return aside


def need(library: str, install: str = "llama-factory[data]") -> MachineError:
    """The letter for a library that is only needed here, with the line that installs it."""
    return MachineError("data.library-needed", library=library, install=install)


class _Unpacked(io.RawIOBase):
    """A readable stream over an unpacking one; what that one says of broken packing becomes `Damaged`."""

    def __init__(self, file: IO[bytes], broken: tuple[type[Exception], ...]) -> None:
        self._file = file
        self._broken = broken
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            self._left = self._left or bytes(self._file.read(CHUNK_BYTES))
        except self._broken as problem:
            raise Damaged(str(problem)) from problem
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._file.close()
        super().close()


def _gzip(path: Path) -> _Unpacked:
    import zlib

    return _Unpacked(cast("IO[bytes]", gzip.open(path, "rb")), (EOFError, gzip.BadGzipFile, zlib.error))


def _zstd(path: Path) -> _Unpacked:
    """Through pyarrow and not through `zstandard`, whose streams end without a word where a file was cut."""
    try:
        import pyarrow
    except ImportError as error:
        raise need("pyarrow") from error
    return _Unpacked(pyarrow.CompressedInputStream(str(path), "zstd"), (OSError, pyarrow.ArrowException))


UNPACK = {".gz": _gzip, ".zst": _zstd}
