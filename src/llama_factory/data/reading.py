"""A JSON or JSON Lines file -> its rows, one at a time, each with the place it came from.

In: a path. Out: `(origin, object)` for every row, or a `DataError` in its place when only that row is
unusable and the rest can still be read; whoever iterates decides whether to stop. What spoils the whole
file is raised. Rows are streamed: one line, or about a megabyte of an array, is in memory at a time.

Stricter than Python's json on purpose: duplicate keys, NaN, infinities, halves of surrogate pairs and
U+0000 are refused, because each of them reaches training as something else than what was written.
It deliberately knows no format: an object is an object here.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from llama_factory.data.jsonarray import array_rows
from llama_factory.data.jsonvalue import Json, Parser, not_utf8
from llama_factory.data.words import hint, short
from llama_factory.errors import DataError
from llama_factory.records import Origin

Row = tuple[Origin, dict[str, Any]]

MAX_ROW_BYTES = 64 * 2**20
BOM = b"\xef\xbb\xbf"
WHITESPACE = b" \t\r\n"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
SUFFIXES = (".json", ".jsonl")
DIALOGUES = ("messages", "conversations", "turns")
"""Keys that a row may have alone, with a list of objects in it."""


def read_rows(path: Path, shown: str) -> Generator[Row | DataError, None, None]:
    """All rows of a file; `shown` is the name of the file in every message."""
    try:
        with path.open("rb") as file:
            first = _first_bytes(file, shown)
            if first.startswith(b"["):
                yield from _objects(array_rows(file, shown, MAX_ROW_BYTES))
            elif first.startswith(b"{"):
                _refuse_one_object(first, shown, path.suffix.lower() == ".json")
                yield from _objects(_lines(file, shown))
            else:
                raise DataError("data.not-json", where=shown, found=_excerpt(first))
    except OSError as problem:
        raise DataError("data.unreadable", where=shown, reason=problem.strerror or str(problem)) from problem


def check_file(path: Path, shown: str) -> None:
    """The file is there and of a kind that can be read; what is in it is not looked at."""
    if path.is_dir():
        raise DataError("data.is-a-folder", where=shown)
    if not path.exists():
        beside = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError("data.no-file", where=shown, hint=hint(path.name, sorted(beside)))
    if path.suffix.lower() not in SUFFIXES:
        raise DataError("data.file-type", where=shown, suffix=path.suffix or path.name)


def _first_bytes(file: BinaryIO, shown: str) -> bytes:
    """Place the file at its first character, and show what stands there."""
    start = file.read(4)
    if start.startswith(UTF16):
        raise DataError("data.utf16", where=shown)
    file.seek(len(BOM) if start.startswith(BOM) else 0)
    while chunk := file.read(65536):
        rest = chunk.lstrip(WHITESPACE)
        if rest:
            rest += file.read(65536)
            file.seek(len(BOM) if start.startswith(BOM) else 0)
            return rest
    raise DataError("data.empty-file", where=shown)


def _refuse_one_object(first: bytes, shown: str, no_lines: bool) -> None:
    """A file that starts with an object is JSON Lines, or one object with the rows inside.

    no_lines: the name of the file does not say that every line is an object, so a first line that is
    none tells that the object goes over several.
    """
    line = first.split(b"\n", 1)[0]
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        if no_lines and len(line) < len(first):
            keys = first.decode("utf-8", "replace").split('"')[1:2]
            raise DataError("data.one-object", where=shown, key=short(keys[0]) if keys else "") from None
        return
    _refuse_wrapped_rows(value, shown)


def _refuse_wrapped_rows(value: Json, shown: str) -> None:
    if isinstance(value, dict) and len(value) == 1:
        ((key, rows),) = value.items()
        if (
            isinstance(rows, list)
            and rows
            and isinstance(rows[0], dict)
            and key not in ("messages", "conversations", "turns")
        ):
            raise DataError("data.one-object", where=shown, key=short(key))


def _objects(values: Iterator[tuple[Origin, Json] | DataError]) -> Iterator[Row | DataError]:
    for found in values:
        if isinstance(found, DataError):
            yield found
        elif isinstance(found[1], dict):
            yield found[0], found[1]
        else:
            yield DataError("data.not-an-object", where=found[0], found=type_name(found[1]))


def _lines(file: BinaryIO, shown: str) -> Iterator[tuple[Origin, Json] | DataError]:
    parser = Parser()
    offset = file.tell()
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        origin = Origin(shown, number)
        if len(line) > MAX_ROW_BYTES:
            raise DataError("data.row-too-large", where=origin, limit_mb=MAX_ROW_BYTES // 2**20)
        if not line.isspace():
            found = _line(parser, line, origin, offset)
            yield found if isinstance(found, DataError) else (origin, found[0])
        offset += len(line)


def _line(parser: Parser, line: bytes, origin: Origin, offset: int) -> tuple[Json] | DataError:
    if (at := line.find(b"\0")) >= 0:
        return DataError("data.nul", where=origin, offset=offset + at)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as problem:
        return not_utf8(origin, problem, offset + problem.start)
    try:
        value = parser.whole(text)
    except json.JSONDecodeError as problem:
        return DataError("data.broken-line", where=origin, column=problem.pos + 1, reason=problem.msg)
    except RecursionError:
        return DataError("data.too-deep", where=origin)
    except ValueError as problem:
        return DataError("data.broken-line", where=origin, column=1, reason=str(problem))
    fault = parser.fault(value, text, origin)
    return fault if fault else (value,)


def type_name(value: object) -> str:
    """JSON's word for a value's type."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _excerpt(data: bytes) -> str:
    return ascii(data[:40].decode("utf-8", "replace"))[1:-1]
