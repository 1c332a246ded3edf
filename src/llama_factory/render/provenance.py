"""Text that remembers which message it came from, whatever a template does to it.

`Traced` is a str with spans: characters inside a span came from a message and are untrusted, all
others were written by the template. Every operation that a template can apply either keeps the
spans exact or raises `ProvenanceLost`; none guesses. `docs/decisions/0001` tells why it is done so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, SupportsIndex


class ProvenanceLost(Exception):
    """A template did something to a message's text after which nobody can say where the characters came from."""


class Span(NamedTuple):
    """Characters `start` to `end` came from `message`."""

    start: int
    end: int
    message: int


class Traced(str):
    """A string and the spans of it that came from messages, in order and without overlap."""

    __slots__ = ("spans",)
    spans: tuple[Span, ...]

    def __new__(cls, text: str, spans: tuple[Span, ...] = ()) -> Traced:
        self = super().__new__(cls, text)
        self.spans = spans
        return self

    @classmethod
    def of(cls, text: str, message: int) -> Traced:
        """All of `text` came from `message`."""
        return cls(text, (Span(0, len(text), message),) if text else ())

    def __str__(self) -> str:
        return self

    def around(self, text: str, spans: tuple[Span, ...]) -> Traced:
        """Text put together from this one and others: of the kind that this one is."""
        return Traced(text, spans)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        if isinstance(key, slice):
            start, stop, stride = key.indices(len(self))
            if stride != 1:
                raise ProvenanceLost("reversed or strided text")
            return self.cut(start, max(start, stop))
        plain = super().__getitem__(key)
        at = key.__index__()
        at = at if at >= 0 else at + len(self)
        return self._piece(plain, at, at + 1)

    def cut(self, start: int, stop: int) -> Traced:
        return self._piece(super().__getitem__(slice(start, stop)), start, stop)

    def _piece(self, plain: str, start: int, stop: int) -> Traced:
        inside = (
            Span(max(span.start, start) - start, min(span.end, stop) - start, span.message)
            for span in self.spans
            if span.start < stop and span.end > start
        )
        return Traced(plain, tuple(inside))

    def __iter__(self) -> Iterator[str]:
        return (self[at] for at in range(len(self)))

    def __add__(self, other: str) -> Traced:
        if not isinstance(other, str):
            return NotImplemented  # a name that is not defined is no empty text
        return join("", (self, other))

    def __radd__(self, other: str) -> Traced:
        if not isinstance(other, str):
            return NotImplemented
        return join("", (other, self))

    def __mul__(self, times: SupportsIndex) -> Traced:
        return join("", [self] * times.__index__())

    __rmul__ = __mul__

    def join(self, parts: Iterable[str]) -> Traced:
        return join(self, parts)

    # -- what strips and splits: the plain method finds the places, `cut` keeps the spans ---------

    def strip(self, chars: str | None = None) -> Traced:
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> Traced:
        return self.cut(len(self) - len(super().lstrip(chars)), len(self))

    def rstrip(self, chars: str | None = None) -> Traced:
        return self.cut(0, len(super().rstrip(chars)))

    def removeprefix(self, prefix: str, /) -> Traced:
        return self.cut(len(prefix) if self.startswith(prefix) else 0, len(self))

    def removesuffix(self, suffix: str, /) -> Traced:
        return self.cut(0, len(self) - len(suffix) if suffix and self.endswith(suffix) else len(self))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(super().split(sep, maxsplit))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(super().rsplit(sep, maxsplit))

    def splitlines(self, keepends: bool = False) -> list[str]:
        return self._located(super().splitlines(keepends))

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._located(list(super().partition(sep)))
        return before, found, after

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, after = self._located(list(super().rpartition(sep)))
        return before, found, after

    def _located(self, parts: list[str]) -> list[str]:
        """The parts of a split, each found again where it stands: they come in order and do not overlap."""
        located: list[str] = []
        at = 0
        for part in parts:
            at = self.index(part, at)
            located.append(self.cut(at, at + len(part)))
            at += len(part)
        return located

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> Traced:
        """What is put in belongs to whoever wrote `new`: a template's constant is template text."""
        if old == "":
            raise ProvenanceLost("replace of the empty string")
        pieces: list[str] = []
        at, left = 0, count.__index__()
        while left != 0 and (found := self.find(old, at)) >= 0:
            pieces += (self.cut(at, found), new)
            at, left = found + len(old), left - 1
        return join("", [*pieces, self.cut(at, len(self))])

    # -- what changes letters: kept where the length stays, refused elsewhere -----------------------

    def _same_length(self, changed: str) -> Traced:
        if len(changed) != len(self):
            raise ProvenanceLost("a change of case that changes the length")
        return Traced(changed, self.spans)

    def upper(self) -> Traced:
        return self._same_length(super().upper())

    def lower(self) -> Traced:
        return self._same_length(super().lower())

    def title(self) -> Traced:
        return self._same_length(super().title())

    def capitalize(self) -> Traced:
        return self._same_length(super().capitalize())

    def _lost(self, *_: Any, **__: Any) -> Any:
        raise ProvenanceLost("an operation on a message's text that is not followed")

    __repr__ = __mod__ = __rmod__ = __format__ = _lost
    casefold = center = encode = expandtabs = format = format_map = _lost
    ljust = rjust = swapcase = translate = zfill = _lost


def join(separator: str, parts: Iterable[Any]) -> Traced:
    """`separator.join(parts)` with the spans of all of them; parts that are not text become text first."""
    texts: list[str] = []
    spans: list[Span] = []
    at = 0
    kind = _PLAINLY
    for number, part in enumerate(parts):
        for piece in (separator, str(part)) if number else (str(part),):
            if isinstance(piece, Traced):
                spans += (Span(span.start + at, span.end + at, span.message) for span in piece.spans)
                kind = kind if type(piece) is Traced else piece
            texts.append(piece)
            at += str.__len__(piece)
    return kind.around("".join(texts), tuple(spans))


_PLAINLY = Traced("")


def plain(text: str) -> str:
    """The same characters as an ordinary string."""
    return str.__str__(text)


def holds_traced(value: Any) -> bool:
    """Is there text of a message anywhere inside `value`?"""
    if isinstance(value, str):
        return isinstance(value, Traced) and bool(value.spans)
    if isinstance(value, dict):
        return any(holds_traced(key) or holds_traced(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set)):
        return any(holds_traced(item) for item in value)
    return False


def to_json(value: Any, **options: Any) -> str:
    """`json.dumps` that keeps spans: each string inside is written by itself and put back in its place."""
    if not holds_traced(value):
        return json.dumps(value, **options)
    texts: list[Traced] = []

    def hide(item: Any) -> Any:
        if isinstance(item, Traced):
            texts.append(_json_string(item, options))
            return f"{_MARK}{len(texts) - 1}{_MARK}"
        if isinstance(item, dict):
            return {hide(key): hide(entry) for key, entry in item.items()}
        if isinstance(item, (list, tuple)):
            return [hide(entry) for entry in item]
        if isinstance(item, str) and _MARK in item:
            raise ProvenanceLost("a marker inside a template's own text")
        return item

    mark = json.dumps(_MARK, ensure_ascii=options.get("ensure_ascii", True))[1:-1]
    pieces: list[str] = []
    for number, piece in enumerate(json.dumps(hide(value), **options).split(mark)):
        if number % 2:
            pieces.append(texts[int(piece)])
            continue
        # The quotes that json wrote around the marker are part of the string that replaces it.
        pieces.append(piece.removeprefix('"' if number else "").removesuffix('"' if number < 2 * len(texts) else ""))
    return join("", pieces)


_MARK = "\U0010fffe"  # a code point that is no character: it cannot stand in a message (the data room refuses it)


def _json_string(text: Traced, options: dict[str, Any]) -> Traced:
    """`text` as a JSON string: what is escaped still belongs to whoever wrote it."""
    ensure_ascii = bool(options.get("ensure_ascii", True))
    pieces: list[str] = ['"']
    at = 0
    for found in (_ESCAPED_ASCII if ensure_ascii else _ESCAPED).finditer(plain(text)):
        pieces.append(text.cut(at, found.start()))
        for place in range(found.start(), found.end()):
            written = json.dumps(plain(text)[place], ensure_ascii=ensure_ascii)[1:-1]
            owners = text.cut(place, place + 1).spans
            pieces.append(Traced(written, tuple(Span(0, len(written), span.message) for span in owners)))
        at = found.end()
    return join("", [*pieces, text.cut(at, len(text)), '"'])


_ESCAPED = re.compile(r'["\\\x00-\x1f]+')
_ESCAPED_ASCII = re.compile(r'["\\\x00-\x1f]+|[^\x00-\x7e]+')
