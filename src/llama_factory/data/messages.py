"""Rows with a dialogue: OpenAI's `messages` (role, content) and ShareGPT's `conversations` (from, value).

In: a row, and the names of its column and tags. Out: a `Conversation`: an optional system message, then user
and assistant in turn, ending with the assistant. Tags that the registry does not give keep every usual
spelling that no given tag has taken. A message may carry OpenAI's `weight`, between 0 and 1. It
deliberately repairs nothing: a dialogue of another shape is refused with the turn that breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from llama_factory.data.reading import type_name
from llama_factory.data.refusals import missing, refuse_in_message, refuse_other_stage, said_text, text
from llama_factory.data.words import hint, short
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, Origin, Role

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt"),
    "system": ("system",),
    "observation": ("tool", "observation"),
    "function": ("function_call", "function"),
}
TRAINED: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
PAIRS = (("role", "content"), ("from", "value"))
USUAL = {"sharegpt": ("conversations", PAIRS[1]), "openai": ("messages", PAIRS[0])}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """`columns` in the order in which a row is looked through; `roles` maps every accepted spelling."""

    columns: tuple[str, ...]
    system: str | None
    role_tag: str
    content_tag: str
    roles: Mapping[str, str]
    named: Mapping[str, str]
    read: frozenset[str]
    said: str

    @classmethod
    def choose(
        cls,
        formatting: str | None,
        columns: Mapping[str, str | None],
        tags: Mapping[str, str],
        sample: Sequence[tuple[Origin, Mapping[str, Any]]],
    ) -> Dialogue:
        named = columns.get("messages")
        first, pair = USUAL.get(formatting or "openai", USUAL["openai"])
        other = "messages" if first == "conversations" else "conversations"
        system = columns.get("system", "system")
        places = (named,) if named else tuple(place for place in (first, other) if place != system)
        if any(all(place in row for place in places) for _, row in sample):
            places = places[:1]  # rows that have both: the other one is not read, and that is said
        role_tag, content_tag = _tags(tags, _seen_pair(places, sample) or pair)
        return cls(
            columns=places,
            system=None if system == named else system,
            role_tag=role_tag,
            content_tag=content_tag,
            roles=_roles(tags),
            named={role: column for role, column in columns.items() if column},
            read=frozenset((*places, *([system] if system else ()))),
            said=f"{'/'.join(_present(places, sample))} ({role_tag}/{content_tag})",
        )

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Conversation:
        refuse_other_stage(row, origin, self.read)
        column = next((column for column in self.columns if column in row), None)
        if column is None:
            raise missing(row, self.columns[0], origin)
        turns = row[column]
        if not isinstance(turns, list):
            raise DataError("data.wrong-type", where=origin, key=column, expected="array", found=type_name(turns))
        if not turns:
            raise DataError("data.no-messages", where=origin, key=column)
        messages = [self._message(turn, number, origin) for number, turn in enumerate(turns, 1)]
        system = row.get(self.system) if self.system else None
        if system is not None and self.system:
            words = text(system, self.system, origin)
            if words and messages[0].role == "system" and messages[0].content != words:
                raise DataError("data.two-systems", where=origin, key=self.system)
            if words and messages[0].role != "system":
                messages.insert(0, Message("system", words))
        check_order(messages, origin)
        return Conversation(tuple(messages), origin)

    def _message(self, turn: object, number: int, origin: Origin) -> Message:
        if not isinstance(turn, dict):
            key = f"message {number}"
            raise DataError("data.wrong-type", where=origin, key=key, expected="object", found=type_name(turn))
        if self.role_tag not in turn:
            raise missing(turn, self.role_tag, origin)
        refuse_in_message(turn, origin)
        role = self._role(turn[self.role_tag], origin)
        if self.content_tag not in turn:
            raise missing(turn, self.content_tag, origin)
        words = text(turn[self.content_tag], self.content_tag, origin)
        weight = _weight(turn.get("weight"), role, number, origin)
        return Message(role, words if role == "system" else said_text(words, role, origin), weight)

    def _role(self, found: object, origin: Origin) -> Role:
        role = self.roles.get(found) if isinstance(found, str) else None
        if role is not None and role in TRAINED:
            return TRAINED[role]
        if role is not None:
            raise DataError("data.tools-not-built", where=origin, found=short(str(found)))
        word = short(found) if isinstance(found, str) else type_name(found)
        known = sorted(self.roles)
        raise DataError("data.unknown-role", where=origin, found=word, known=", ".join(known), hint=hint(word, known))


def check_order(messages: Sequence[Message], origin: Origin) -> None:
    """[system], then user and assistant in turn, the assistant last."""
    for number, message in enumerate(messages, 1):
        if message.role == "system" and number > 1:
            raise DataError("data.system-not-first", where=origin, number=number)
    turns = [message.role for message in messages if message.role != "system"]
    if not turns:
        raise DataError("data.no-turns", where=origin)
    if turns[0] == "assistant":
        raise DataError("data.starts-with-assistant", where=origin)
    for before, role in pairwise(turns):
        if before == role:
            raise DataError("data.two-in-a-row", where=origin, role=role)
    if turns[-1] != "assistant":
        raise DataError("data.ends-with-user", where=origin, found=turns[-1])


def _weight(value: object, role: Role, number: int, origin: Origin) -> float | None:
    """OpenAI's `weight`: how much an answer counts. Other turns are never trained, so theirs can only be 0."""
    if value is None:
        return None
    most = 1 if role == "assistant" else 0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
        return float(value) if role == "assistant" else None
    raise DataError("data.bad-weight", where=origin, number=number, role=role, found=short(str(value)))


def _roles(tags: Mapping[str, str]) -> dict[str, str]:
    given = {tags[f"{role}_tag"]: role for role in SPELLINGS if f"{role}_tag" in tags}
    usual = {
        spelling: role
        for role, spellings in SPELLINGS.items()
        if f"{role}_tag" not in tags
        for spelling in spellings
        if spelling not in given
    }
    return {**usual, **given}


def _tags(tags: Mapping[str, str], pair: tuple[str, str]) -> tuple[str, str]:
    """One tag given tells the other one where it is the half of a usual pair."""
    role, content = tags.get("role_tag"), tags.get("content_tag")
    for usual in PAIRS:
        if role == usual[0] or content == usual[1]:
            pair = usual
    return role or pair[0], content or pair[1]


def _seen_pair(places: Sequence[str], sample: Sequence[tuple[Origin, Mapping[str, Any]]]) -> tuple[str, str] | None:
    for _, row in sample:
        for place in places:
            turns = row.get(place)
            if isinstance(turns, list) and turns and isinstance(turns[0], dict):
                return next((pair for pair in PAIRS if pair[0] in turns[0] and pair[1] in turns[0]), None)
    return None


def _present(places: Sequence[str], sample: Sequence[tuple[Origin, Mapping[str, Any]]]) -> list[str]:
    return [place for place in places if any(place in row for _, row in sample)] or [places[0]]
