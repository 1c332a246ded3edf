"""Rows without a dialogue, and the raw turns of one tutorial: `text`, `text` with `label`, `turns`.

In: a row. Out: a `Text` for pre-training; a `Classified` text; or a `Conversation` whose answers carry their thoughts
in `<think>` and themselves in `<answer>`, slow where a turn says `requires_reasoning`, fast (nothing thought) where it
does not, as the tutorial on Hunyuan converts them. It deliberately splits no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_factory.data.pairs import conversation
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import flag, missing, optional, refuse_media, text
from llama_factory.data.turns import PAIRS, Turns
from llama_factory.errors import DataError
from llama_factory.records import Classified, Message, Origin, Record, Text

SYSTEM = "你是一个有帮助的AI助手"
"""The tutorial's system text, for rows that bring none of their own."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Each row is one text."""

    column: str
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> frozenset[str]:
        return frozenset((self.column,))

    @property
    def said(self) -> str:
        return self.column

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        return Text(_text(row, self.column, origin), origin)


@dataclass(frozen=True, slots=True)
class Classes:
    """Each row is a text and the name, or the number, of its class."""

    column: str
    label: str
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> frozenset[str]:
        return frozenset((self.column, self.label))

    @property
    def said(self) -> str:
        return f"{self.column} + {self.label}"

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        words = _text(row, self.column, origin)
        if self.label not in row:
            raise missing(row, self.label, origin)
        label = row[self.label]
        if isinstance(label, str) and label:
            return Classified(words, label, origin)
        if isinstance(label, bool):
            return Classified(words, "true" if label else "false", origin)
        if isinstance(label, int):
            return Classified(words, str(label), origin)
        raise DataError(
            "data.wrong-type", where=origin, key=self.label, expected="string, integer", found=type_name(label)
        )


@dataclass(frozen=True, slots=True)
class RawTurns:
    """`turns` with `role`, `content`, `requires_reasoning` and `thinking`."""

    column: str = "turns"
    named: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> frozenset[str]:
        return frozenset((self.column, "system"))

    @property
    def said(self) -> str:
        return f"{self.column} (role/content) -> <think>, <answer>; system: {SYSTEM}"

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        refuse_media(row, origin, self.read)
        if self.column not in row:
            raise missing(row, self.column, origin)
        turns = row[self.column]
        if not isinstance(turns, list):
            raise DataError("data.wrong-type", where=origin, key=self.column, expected="array", found=type_name(turns))
        if not turns:
            raise DataError("data.no-messages", where=origin, key=self.column)
        messages = [self._message(turn, number, origin) for number, turn in enumerate(turns, 1)]
        if messages[0].role != "system":
            messages.insert(0, Message("system", optional(row, "system", origin) or SYSTEM))
        return conversation(messages, origin)

    def _message(self, turn: object, number: int, origin: Origin) -> Message:
        plain = {key: turn[key] for key in PAIRS[0] if key in turn} if isinstance(turn, dict) else turn
        message = TURNS.one(plain, number, origin)
        if not isinstance(turn, dict) or message.role != "assistant":
            return message
        needs = turn.get("requires_reasoning")
        thought = ""
        if needs is not None and flag(needs, "requires_reasoning", origin):
            thought = optional(turn, "thinking", origin)
            if not thought.strip():
                raise DataError("data.thinking-missing", where=origin, number=number)
        words = f"<think>\n{thought}\n</think>\n<answer>\n{message.content}\n</answer>"
        return Message("assistant", words)


TURNS = Turns.choose({}, PAIRS[0], ())


def _text(row: Mapping[str, Any], column: str, origin: Origin) -> str:
    refuse_media(row, origin, frozenset((column,)))
    if column not in row:
        raise missing(row, column, origin)
    words = text(row[column], column, origin)
    if words and not words.isspace():
        return words
    raise DataError("data.empty-text", where=origin, key=column)
