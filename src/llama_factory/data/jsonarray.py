"""A file that is one JSON array -> its elements, one at a time.

In: a binary file placed before `[`. Out: `(origin, value)` with records numbered from 1, or a `DataError` for an
element that can be read but not used. Broken syntax is raised with its line, for nothing after it can be
trusted. At most one element and one chunk are held: the text is parsed where it lies, and more is read
only when the parser ran into the end of it. It deliberately does not look inside the elements.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from llama_factory.data.jsonvalue import Json, Parser, not_utf8
from llama_factory.errors import DataError
from llama_factory.records import Origin

CHUNK_BYTES = 2**20
NEAR_THE_END = 16
"""Longer than any piece of JSON outside of strings that the end of a chunk can cut: `-Infinity`, `\\uXXXX`."""

_SPACE = re.compile(r"[ \t\r\n]*")


def array_rows(
    file: BinaryIO, shown: str, max_row_chars: int, offset: int = 0
) -> Iterator[tuple[Origin, Json] | DataError]:
    """The elements in order. offset: how many bytes of the file have been read already."""
    text = _Window(file, shown, max_row_chars, offset)
    parser = Parser()
    text.step(1)  # the bracket
    number = 0
    closed = text.next_character() == "]"
    while not closed:
        number += 1
        start, value = text.value(parser)
        origin = Origin(shown, number)
        fault = parser.fault(value, text.since(start), origin)
        yield fault if fault else (origin, value)
        follows = text.next_character()
        if follows not in (",", "]"):
            raise text.broken("Expecting ',' delimiter" if follows else "the file ends before the array does")
        closed = follows == "]"
        text.step(1)
        if not closed and text.next_character() == "]":
            raise text.broken("a comma before the closing bracket")
    if number == 0:
        text.step(1)
    if text.next_character():
        raise text.broken("Extra data")


class _Window:
    """The part of the file that is in memory, the place in it, and the line that this place is on."""

    def __init__(self, file: BinaryIO, shown: str, max_row_chars: int, offset: int) -> None:
        self._file = file
        self._shown = shown
        self._limit = max_row_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes_read = offset
        self._text = ""
        self._at = 0
        self._ended = False
        self._line = 1
        self._column = 1
        self.next_character()

    def next_character(self) -> str:
        """Skip white space; the character then met, or nothing at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def step(self, count: int) -> None:
        self._at += count

    def since(self, start: int) -> str:
        return self._text[start : self._at]

    def value(self, parser: Parser) -> tuple[int, Json]:
        """The value at this place; the place moves behind it. Returns where in the window it started."""
        while True:
            try:
                value, end = parser.at(self._text, self._at)
            except json.JSONDecodeError as problem:
                cut = problem.msg.startswith("Unterminated string") or (
                    problem.pos >= len(self._text.rstrip()) - NEAR_THE_END
                )
                if not cut or not self._more():
                    raise self.broken(problem.msg, problem.pos) from None
                continue
            except RecursionError:
                line, _ = self._place(self._at)
                raise DataError("data.too-deep-array", where=self._shown, line=line) from None
            except ValueError as problem:  # a number of more digits than Python takes
                raise self.broken(str(problem)) from None
            if end + NEAR_THE_END <= len(self._text) or not self._more():  # `0` may go on as `0.5`
                start, self._at = self._at, end
                return start, value

    def broken(self, reason: str, position: int | None = None) -> DataError:
        line, column = self._place(self._at if position is None else position)
        return DataError("data.broken-array", where=self._shown, line=line, column=column, reason=reason)

    def _place(self, position: int) -> tuple[int, int]:
        line = self._line + self._text.count("\n", 0, position)
        newline = self._text.rfind("\n", 0, position)
        return line, position - newline if newline >= 0 else self._column + position

    def _more(self) -> bool:
        """Forget what lies behind and read on; False, and nothing moved, at the end of the file.

        A window that did not hold its row is doubled, so long rows stay linear.
        """
        if self._ended:
            return False
        if len(self._text) - self._at > self._limit:
            line, _ = self._place(self._at)
            raise DataError("data.row-too-large", where=f"{self._shown}:{line}", limit_mb=self._limit // 2**20)
        chunk = self._file.read(max(CHUNK_BYTES, len(self._text) - self._at))
        if (zero := chunk.find(b"\0")) >= 0:
            raise DataError("data.nul", where=self._shown, offset=self._bytes_read + zero)
        pending = len(self._decoder.getstate()[0])
        try:
            fresh = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as problem:
            raise not_utf8(self._shown, problem, self._bytes_read - pending + problem.start) from None
        self._bytes_read += len(chunk)
        self._ended = not chunk
        if not chunk:
            return False
        self._line, self._column = self._place(self._at)
        self._text, self._at = self._text[self._at :] + fresh, 0
        return True
