"""Rows that are good data for something else: recognised, named, and refused with the stage they fit.

In: a row or a message. Out: nothing, or a letter. Without this, a preference pair would be half trained and a
tool call silently lost. It deliberately refuses only values that say something: an empty `tools` column
is what many exports write for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_factory.data.reading import type_name
from llama_factory.data.words import hint, listed, short
from llama_factory.errors import DataError
from llama_factory.records import Origin

STAGES = {"chosen": "rm, dpo", "rejected": "rm, dpo", "kto_tag": "kto"}
TOOLS = ("tools", "functions")
MEDIA = ("images", "videos", "audios", "image", "video", "audio")
ROW_KEYS = frozenset((*STAGES, *TOOLS, *MEDIA))
MESSAGE_TOOLS = ("tool_calls", "function_call", "tool_call_id")
MESSAGE_REASONING = ("reasoning_content", "reasoning", "thinking")
MESSAGE_KEYS = frozenset((*MESSAGE_TOOLS, *MESSAGE_REASONING, *MEDIA))
NOTHING: tuple[object, ...] = (None, "", "[]", "{}", "null", [], {})


def refuse_other_stage(row: Mapping[str, Any], origin: Origin, used: frozenset[str] = frozenset()) -> None:
    """Whole rows. `used` are columns that the registry mapped to something else: their name says nothing."""
    if not ROW_KEYS.isdisjoint(row):
        for key in row:
            if key in ROW_KEYS and key not in used and row[key] not in NOTHING:
                _refuse(key, origin)
    if isinstance(row.get("label"), bool) and ("messages" in row or "conversations" in row) and "label" not in used:
        raise DataError("data.other-stage", where=origin, key="label", stage="kto")
    if len(row) < 4 and "text" in row and row.keys() <= {"text", "id", "source", "meta", "url"} and not used:
        raise DataError("data.other-stage", where=origin, key="text", stage="pt")


def refuse_in_message(message: Mapping[str, Any], origin: Origin) -> None:
    """Content beside the content: losing it would train something else than what was written."""
    if MESSAGE_KEYS.isdisjoint(message):
        return
    for key in message:
        if key in MESSAGE_KEYS and message[key] not in NOTHING:
            if key in MESSAGE_REASONING:
                raise DataError("data.reasoning-not-built", where=origin, key=key)
            _refuse("tools" if key in MESSAGE_TOOLS else key, origin)


def _refuse(key: str, origin: Origin) -> None:
    if key in STAGES:
        raise DataError("data.other-stage", where=origin, key=key, stage=STAGES[key])
    if key in TOOLS:
        raise DataError("data.tools-not-built", where=origin, found=key)
    raise DataError("data.media-not-built", where=origin, key=key)


def text(value: object, key: str, origin: Origin) -> str:
    """A string, or the letter that says what stands there instead."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        kinds = sorted({str(part.get("type")) for part in value if isinstance(part, dict)})
        if kinds:
            raise DataError("data.parts-not-built", where=origin, key=key, kinds=short(", ".join(kinds)))
    raise DataError("data.wrong-type", where=origin, key=key, expected="string", found=type_name(value))


def missing(row: Mapping[str, Any], wanted: str, origin: Origin) -> DataError:
    """A key that must be there: the keys that are, and the nearest of them."""
    return DataError("data.missing-key", where=origin, wanted=wanted, keys=listed(row), hint=hint(wanted, row))


def said_text(value: str, role: str, origin: Origin) -> str:
    """Text that says something: a turn of white space teaches nothing, or to be silent."""
    if value.strip():
        return value
    raise DataError("data.empty-answer" if role == "assistant" else "data.empty-turn", where=origin, role=role)
