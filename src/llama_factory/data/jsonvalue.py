"""One JSON value from text, with the faults that Python's json lets through.

In: text. Out: the value, and through `Parser.fault` the first thing that makes it unusable though it can be
read: a key given twice, NaN or an infinity, half of a surrogate pair, U+0000. Faults are noted and not
raised while parsing, so that the reader of an array can go on after the value. It deliberately knows
neither files nor rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from llama_factory.data.words import short
from llama_factory.errors import DataError
from llama_factory.records import Origin

SUSPECT = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
"""Escapes that may stand for half a character or for U+0000; both can come from nothing else."""

Json: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None


class Parser:
    """A strict decoder; `fault` speaks of the value parsed last."""

    def __init__(self) -> None:
        self._repeated: str | None = None
        self._not_finite: str | None = None
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float
        )

    def whole(self, text: str) -> Json:
        """The one value that `text` holds."""
        self._forget()
        value: Json = self._decoder.decode(text)
        return value

    def at(self, text: str, position: int) -> tuple[Json, int]:
        """The value that starts at `position`, and where it ends."""
        self._forget()
        value, end = self._decoder.raw_decode(text, position)
        return value, end

    def fault(self, value: Json, text: str, origin: Origin) -> DataError | None:
        """`text` is what the value was read from; it tells whether a closer look is needed."""
        if self._repeated is not None:
            return DataError("data.duplicate-key", where=origin, key=short(self._repeated))
        if self._not_finite is not None:
            return DataError("data.not-a-number", where=origin, found=self._not_finite)
        if not SUSPECT.search(text):
            return None
        for string in strings(value):
            if "\0" in string:
                return DataError("data.nul-escape", where=origin)
            try:
                string.encode("utf-8")
            except UnicodeEncodeError as problem:
                return DataError("data.half-surrogate", where=origin, found=ascii(string[problem.start])[1:-1])
        return None

    def _forget(self) -> None:
        self._repeated = self._not_finite = None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            self._repeated = next(key for key in keys if keys.count(key) > 1)
        return found

    def _constant(self, word: str) -> None:
        self._not_finite = word

    def _float(self, digits: str) -> float:
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            self._not_finite = short(digits)
        return number


def strings(value: Json) -> Iterator[str]:
    """Every string of a value, keys too; without recursion, so that no depth is too deep."""
    waiting: list[Any] = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, dict):
            waiting.extend(found)
            waiting.extend(found.values())


def not_utf8(where: object, problem: UnicodeDecodeError, offset: int) -> DataError:
    """`offset` counts bytes from the start of the file."""
    return DataError("data.not-utf8", where=where, offset=offset, byte=f"0x{problem.object[problem.start]:02x}")


def type_name(value: object) -> str:
    """JSON's word for a value's type; tables have bytes beside those."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return "bytes" if isinstance(value, bytes) else names.get(type(value), "null")
