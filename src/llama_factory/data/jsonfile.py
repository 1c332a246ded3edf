"""A JSON or JSON Lines file -> its values, one at a time: what the first character is decides which it is.

In: a path. Out: `(origin, value)` for every row, or a `DataError` in its place when only that row is unusable.
What spoils the whole file is raised. Stricter than Python's json on purpose: duplicate keys, NaN, infinities,
halves of surrogate pairs and U+0000 are refused, because each of them reaches training as something else than
what was written. It deliberately knows no format: an object is an object here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llama_factory.data import kinds
from llama_factory.data.jsonarray import array_rows
from llama_factory.data.jsonvalue import Json, Parser
from llama_factory.data.lines import Found, first_bytes, lines, text_of
from llama_factory.data.words import short
from llama_factory.errors import DataError
from llama_factory.records import Origin

DIALOGUES = ("messages", "conversations", "turns")
"""Keys that a row may have alone, with a list of objects in it."""


def json_rows(path: Path, shown: str, max_bytes: int) -> Found:
    """All values of the file, in order."""
    with kinds.plain(path) as file:
        first, mark = first_bytes(file, shown)
    named = kinds.named(path.name)
    if first.startswith(b"["):
        with kinds.plain(path) as file:
            file.read(mark)
            yield from array_rows(file, shown, max_bytes, mark)
    elif first.startswith(b"{"):
        _refuse_one_object(first, shown, named is not None and named.suffix == ".json")
        with kinds.plain(path) as file:
            file.read(mark)
            yield from _json_lines(file, shown, max_bytes, mark)
    else:
        raise DataError("data.not-json", where=shown, found=_excerpt(first))


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
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and key not in DIALOGUES:
            raise DataError("data.one-object", where=shown, key=short(key))


def _json_lines(file: BinaryIO, shown: str, max_bytes: int, mark: int) -> Iterator[tuple[Origin, Json] | DataError]:
    parser = Parser()
    for number, offset, line in lines(file, shown, max_bytes, mark):
        if not line.isspace():
            origin = Origin(shown, number)
            found = _line(parser, line, origin, offset)
            yield found if isinstance(found, DataError) else (origin, found[0])


def _line(parser: Parser, line: bytes, origin: Origin, offset: int) -> tuple[Json] | DataError:
    text = text_of(line, origin, offset)
    if isinstance(text, DataError):
        return text
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


def _excerpt(data: bytes) -> str:
    return ascii(data[:40].decode("utf-8", "replace"))[1:-1]
