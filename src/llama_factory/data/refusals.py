"""What rows of every format share: texts, what must be there, what nothing can be done with.

In: a value of a row or of a message. Out: the text it holds, or the letter that says what is wrong with it. It
deliberately refuses only values that say something: an empty `images` column is what many exports write for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_factory.data.reading import type_name
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError
from llama_factory.records import Origin

MEDIA = frozenset(("images", "videos", "audios", "image", "video", "audio"))
NOTHING = ("[]", "{}", "null")


def refuse_media(row: Mapping[str, Any], origin: Origin, used: frozenset[str] = frozenset()) -> None:
    """A row or a message. `used` are columns that the registry mapped to something else: their name says nothing."""
    if not MEDIA.isdisjoint(row):
        for key in row:
            if key in MEDIA and key not in used and not none_listed(row[key]):
                raise DataError("data.media-not-built", where=origin, key=key)


def nothing(value: object) -> bool:
    """Whether a column says nothing; false is an answer, and so is 0."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def none_listed(value: object) -> bool:
    """The same for a list that may be written as JSON text."""
    return nothing(value) or (isinstance(value, str) and value in NOTHING)


def text(value: object, key: str, origin: Origin) -> str:
    """A string, or the letter that says what stands there instead."""
    if isinstance(value, str):
        return value
    raise DataError("data.wrong-type", where=origin, key=key, expected="string", found=type_name(value))


def optional(row: Mapping[str, Any], column: str | None, origin: Origin) -> str:
    """The text of a column that may be missing, empty or null."""
    value = row.get(column) if column else None
    return "" if value is None or column is None else text(value, column, origin)


def flag(value: object, key: str, origin: Origin) -> bool:
    """True or false as JSON writes them: the text "false" would be read as true by many programs."""
    if isinstance(value, bool):
        return value
    raise DataError("data.wrong-type", where=origin, key=key, expected="boolean", found=type_name(value))


def missing(row: Mapping[str, Any], wanted: str, origin: Origin) -> DataError:
    """A key that must be there: the keys that are, and the nearest of them."""
    return DataError("data.missing-key", where=origin, wanted=wanted, keys=listed(row), hint=hint(wanted, row))


def said_text(value: str, role: str, origin: Origin) -> str:
    """Text that says something: a turn of white space teaches nothing, or to be silent."""
    if value and not value.isspace():
        return value
    raise DataError("data.empty-answer" if role == "assistant" else "data.empty-turn", where=origin, role=role)
