"""How one value of a configuration is read: text or a Python value in, the exact type out.

A file and a command line give text, a Python caller gives objects; both go through the same readers,
so that `1e-5`, `"1e-5"` and `0.00001` are one number wherever they stand. A reader knows three things
about its type: how to read it, how to name it in a letter (the same words in every language, because
they are notation: `int >= 1`), and its JSON schema.

What it deliberately does not do: know a key, a file or another value.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, TypeAlias

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Json: TypeAlias = dict[str, Any]

WHOLE_MAX = 2**53
_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0"})
_NULL = frozenset({"", "~", "null", "none"})
_LONGEST_NUMBER = 64
_IN_PATTERNS = frozenset("*+?()[]{}|^$\\")


class Plain(str):
    """Text that stood without quotes in a file or on the command line: `null` in it means nothing given."""

    __slots__ = ()


class UnreadableError(ValueError):
    """The value is not of the type."""


class NotBuiltError(ValueError):
    """The value is known and its feature is not built yet."""


def is_null(value: object) -> bool:
    return value is None or (isinstance(value, Plain) and value.strip().lower() in _NULL)


def is_pattern(text: str) -> bool:
    """Whether a text is a regular expression rather than names: it has a sign that no layer's name has."""
    return not _IN_PATTERNS.isdisjoint(text)


def as_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral) and int(value) in (0, 1):
        return bool(value)
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise UnreadableError


def as_number(value: object) -> int | float:
    """A finite number. Text may be written `1e-5`, which YAML 1.1 alone would call a string."""
    if isinstance(value, bool):
        raise UnreadableError
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, str):
        return _number_in(value.strip())
    if isinstance(value, Real):
        try:
            number = float(value)
        except (OverflowError, ValueError) as error:
            raise UnreadableError from error
        return _finite(number)
    raise UnreadableError


def as_text(value: object) -> str:
    """Text that every file system and every UTF-8 file can hold."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, (Integral, float)) and not isinstance(value, bool):
        value = repr(value) if isinstance(value, float) else str(int(value))
    if not isinstance(value, str):
        raise UnreadableError
    text = str.__str__(value)
    if "\0" in text:
        raise UnreadableError
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableError from error
    return "".join(text)


def _number_in(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER or not text.isascii():
        raise UnreadableError
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return _finite(float(text))
    except ValueError as error:
        raise UnreadableError from error


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise UnreadableError
    return number


class RefusedError(ValueError):
    """The value is known and will not be built; `id` names the letter that says why."""

    def __init__(self, word: str, id: str) -> None:
        super().__init__(word)
        self.id = id


@dataclass(frozen=True, eq=False)
class Reader:
    """What all readers share: nothing given stays None, and the field's own type says whether it may."""

    @property
    def text(self) -> str:
        raise UnreadableError

    @property
    def schema(self) -> Json:
        return {}

    def read(self, value: object) -> object:
        return value

    def enter(self, value: object) -> object:
        return None if is_null(value) else self.read(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.enter, handler(source))


@dataclass(frozen=True, eq=False)
class Flag(Reader):
    @property
    def text(self) -> str:
        return "true | false"

    @property
    def schema(self) -> Json:
        return {"type": "boolean"}

    def read(self, value: object) -> bool:
        return as_bool(value)


@dataclass(frozen=True, eq=False)
class Whole(Reader):
    """A whole number. `also` names single values below the least one, such as -1 for "no limit"."""

    at_least: int | None = None
    at_most: int = WHOLE_MAX
    also: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        words = "int" if self.at_least is None else f"int >= {self.at_least}"
        if self.at_most != WHOLE_MAX:
            words += f", <= {self.at_most}"
        return " | ".join([*(str(one) for one in self.also), words])

    @property
    def schema(self) -> Json:
        limits: Json = {"type": "integer"}
        if self.at_least is not None:
            limits["minimum"] = self.at_least
        return {"anyOf": [{"enum": list(self.also)}, limits]} if self.also else limits

    def read(self, value: object) -> int:
        number = as_number(value)
        if number != int(number):
            raise UnreadableError
        number = int(number)
        if number in self.also:
            return number
        if (self.at_least is not None and number < self.at_least) or not -WHOLE_MAX <= number <= self.at_most:
            raise UnreadableError
        return number


@dataclass(frozen=True, eq=False)
class OneOf(Reader):
    """One of a few whole numbers."""

    numbers: tuple[int, ...]

    @property
    def text(self) -> str:
        return " | ".join(map(str, self.numbers))

    @property
    def schema(self) -> Json:
        return {"type": "integer", "enum": list(self.numbers)}

    def read(self, value: object) -> int:
        number = as_number(value)
        if number not in self.numbers:
            raise UnreadableError
        return int(number)


@dataclass(frozen=True, eq=False)
class Number(Reader):
    """A finite number. From `whole_from` on it must be whole: below it is a share, above it a count."""

    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    whole_from: int | None = None

    @property
    def text(self) -> str:
        signs = ((">=", self.at_least), (">", self.above), ("<", self.below), ("<=", self.at_most))
        limits = ", ".join(f"{sign} {limit:g}" for sign, limit in signs if limit is not None)
        words = f"float {limits}".strip()
        return words if self.whole_from is None else f"{words}, < {self.whole_from} | int >= {self.whole_from}"

    @property
    def schema(self) -> Json:
        names = {
            "minimum": self.at_least,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
            "maximum": self.at_most,
        }
        return {"type": "number", **{name: limit for name, limit in names.items() if limit is not None}}

    def read(self, value: object) -> float:
        try:
            number = float(as_number(value))
        except OverflowError as error:
            raise UnreadableError from error
        refused = (
            (self.at_least is not None and number < self.at_least)
            or (self.above is not None and number <= self.above)
            or (self.below is not None and number >= self.below)
            or (self.at_most is not None and number > self.at_most)
            or (self.whole_from is not None and number >= self.whole_from and number != int(number))
        )
        if refused:
            raise UnreadableError
        return number


@dataclass(frozen=True, eq=False)
class Text(Reader):
    @property
    def text(self) -> str:
        return "text"

    @property
    def schema(self) -> Json:
        return {"type": "string"}

    def read(self, value: object) -> str | None:
        return as_text(value)


@dataclass(frozen=True, eq=False)
class Path(Text):
    """A file, a folder or a name of a hub. `~` becomes the home folder; `${...}` is nobody's folder, so refused."""

    @property
    def text(self) -> str:
        return "path"

    def read(self, value: object) -> str | None:
        return as_path(value) or None


def as_path(value: object) -> str:
    text = as_text(value).strip()
    if "${" in text:
        raise UnreadableError
    return os.path.expanduser(text) if text == "~" or text.startswith("~/") else text


@dataclass(frozen=True, eq=False)
class PathOrFlag(Path):
    @property
    def text(self) -> str:
        return "true | false | path"

    @property
    def schema(self) -> Json:
        return {"type": ["boolean", "string"]}

    def enter(self, value: object) -> object:
        if is_null(value):
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return as_bool(value)
        return self.read(value)


@dataclass(frozen=True, eq=False)
class Choice(Reader):
    """One word of several. `planned` words are known and not built; `also` maps other spellings to a word.

    refused: words that are known and will not be built, each with the id of the letter that says why.
    pattern: words of this form are taken as they are written; `shown` is how the form is named in a letter.
    """

    words: tuple[str, ...]
    planned: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""
    shown: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return " | ".join(self.words + ((self.shown,) if self.shown else ()))

    @property
    def schema(self) -> Json:
        one: Json = {"type": "string", "enum": list(self.words)}
        return {"anyOf": [one, {"type": "string", "pattern": f"^{self.pattern}$"}]} if self.pattern else one

    def read(self, value: object) -> str:
        written = str(value) if isinstance(value, bool) else as_text(value).strip()
        word = self.also.get(written.lower(), written.lower())
        if word in self.words:
            return word
        if word in self.planned:
            raise NotBuiltError(word)
        if word in self.refused:
            raise RefusedError(word, self.refused[word])
        if self.pattern and re.fullmatch(self.pattern, written):
            return written
        raise UnreadableError


@dataclass(frozen=True, eq=False)
class Names(Reader):
    """Several names: a YAML list, or one text with commas. With `words`, only these.

    patterns: a text that is a regular expression is one name, commas and all.
    """

    words: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    paths: bool = False
    patterns: bool = False

    @property
    def text(self) -> str:
        one = " | ".join(self.words) if self.words else "path" if self.paths else "text"
        return f"{one}, ..."

    @property
    def schema(self) -> Json:
        one: Json = {"type": "string", "enum": list(self.words)} if self.words else {"type": "string"}
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": one}]}

    def enter(self, value: object) -> object:
        if is_null(value) and not ("none" in self.words and str(value).strip().lower() == "none"):
            return ()
        return self.read(value)

    def read(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str) and self.patterns and is_pattern(value):
            parts: list[object] = [value]
        elif isinstance(value, str):
            parts = list(as_text(value).split(","))
        elif isinstance(value, (list, tuple)):
            parts = list(value)
        else:
            parts = [value]
        names = tuple(name for name in (self._one(part) for part in parts) if name)
        if self.words and "none" in names and len(names) > 1:
            raise UnreadableError
        return names

    def _one(self, part: object) -> str:
        name = as_path(part) if self.paths else as_text(part).strip()
        if not self.words:
            return name
        if name.lower() in self.planned:
            raise NotBuiltError(name.lower())
        if name.lower() not in ("", *self.words):
            raise UnreadableError
        return name.lower()


@dataclass(frozen=True, eq=False)
class Numbers(Number):
    """Several numbers: a YAML list, or one text with commas."""

    @property
    def text(self) -> str:
        return f"{super().text}, ..."

    @property
    def schema(self) -> Json:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": super().schema}]}

    def enter(self, value: object) -> object:
        if is_null(value):
            return ()
        parts: list[object] = [value]
        if isinstance(value, str):
            parts = [part for part in value.split(",") if part.strip()]
        elif isinstance(value, (list, tuple)):
            parts = list(value)
        return tuple(self.read(part) for part in parts)
