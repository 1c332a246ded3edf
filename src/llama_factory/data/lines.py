"""A stream of bytes -> its lines, and a line -> text, or the letter that says why it is none.

In: a binary stream. Out: `(number, offset, bytes)` of every line, numbers from 1, offsets in unpacked bytes; a
byte order mark is skipped. UTF-16 and a line above the limit are raised, for nothing behind them can be
trusted. Shared by all kinds of files that have lines; it deliberately knows none of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import BinaryIO, TypeAlias

from llama_factory.data.jsonvalue import Json, not_utf8
from llama_factory.errors import DataError
from llama_factory.records import Origin

Found: TypeAlias = Generator[tuple[Origin, Json] | DataError, None, None]
"""What a reader of one kind of file gives: values with their place, or the letter about one of them."""

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
WHITESPACE = b" \t\r\n"
PEEK_BYTES = 65536


def first_bytes(file: BinaryIO, shown: str) -> tuple[bytes, int]:
    """What stands at the first character that is not white space, up to some 64 KB, and how long the mark before is."""
    start = file.read(PEEK_BYTES)
    if start.startswith(UTF16):
        raise DataError("data.utf16", where=shown)
    mark = len(BOM) if start.startswith(BOM) else 0
    chunk = start[mark:]
    while not (rest := chunk.lstrip(WHITESPACE)):
        chunk = file.read(PEEK_BYTES)
        if not chunk:
            raise DataError("data.empty-file", where=shown)
    return rest + file.read(PEEK_BYTES), mark


def lines(file: BinaryIO, shown: str, max_bytes: int, offset: int = 0) -> Iterator[tuple[int, int, bytes]]:
    """offset: how many bytes of the file have been read already."""
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes:
            raise too_large(Origin(shown, number), max_bytes)
        yield number, offset, line
        offset += len(line)


def text_of(line: bytes, origin: Origin, offset: int) -> str | DataError:
    """offset: where the line starts in the file, for naming the byte that is wrong."""
    if (at := line.find(b"\0")) >= 0:
        return DataError("data.nul", where=origin, offset=offset + at)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as problem:
        return not_utf8(origin, problem, offset + problem.start)


def too_large(where: object, max_bytes: int) -> DataError:
    return DataError("data.row-too-large", where=where, limit_mb=max_bytes // 2**20)
