"""One turn of a dialogue, however it is spelled -> one `Message`.

In: an object with a role and a content under the names that the data set uses; OpenAI's keys beside them
(`tool_calls`, `tool_call_id`, `name`, `reasoning_content`, `weight`, `train`); content as text or as typed parts.
Out: a `Message`. Content is kept word for word, thoughts in `<think>` included: only the renderer of the model knows
whether they stand in the content or beside it. It deliberately does not look at the order of turns: that is `order`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from llama_factory.data.calls import calls_in, calls_of, parsed
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import flag, missing, refuse_media, said_text, text
from llama_factory.data.words import hint, short
from llama_factory.errors import DataError
from llama_factory.records import Message, Origin, Role, ToolCall

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt"),
    "system": ("system", "developer"),
    "observation": ("tool", "observation", "function"),
    "function": ("function_call",),
}
ROLES: Mapping[str, Role] = {
    "system": "system", "user": "user", "assistant": "assistant", "observation": "tool", "function": "assistant",
}  # fmt: skip
PAIRS = (("role", "content"), ("from", "value"))
REASONING = ("reasoning_content", "reasoning", "thinking")
CALLS = ("tool_calls", "function_call")


@dataclass(frozen=True, slots=True)
class Turns:
    """`roles` maps every accepted spelling to one of `SPELLINGS`."""

    role_tag: str
    content_tag: str
    roles: Mapping[str, str]

    @classmethod
    def choose(cls, tags: Mapping[str, str], usual: tuple[str, str], lists: Sequence[object]) -> Turns:
        """`lists`: dialogues of the first rows, which tell how role and content are called where no tag does."""
        pair = next((pair for turns in lists if (pair := _seen_pair(turns))), usual)
        role_tag, content_tag = _tags(tags, pair)
        return cls(role_tag, content_tag, _roles(tags))

    def all(self, turns: object, key: str, origin: Origin) -> list[Message]:
        """Every turn of a list that is not empty."""
        if not isinstance(turns, list):
            raise DataError("data.wrong-type", where=origin, key=key, expected="array", found=type_name(turns))
        if not turns:
            raise DataError("data.no-messages", where=origin, key=key)
        return [self.one(turn, number, origin) for number, turn in enumerate(turns, 1)]

    def one(self, turn: object, number: int, origin: Origin) -> Message:
        if type(turn) is not dict:
            key = f"message {number}"
            raise DataError("data.wrong-type", where=origin, key=key, expected="object", found=type_name(turn))
        if len(turn) == 2:
            content, said = turn.get(self.content_tag), turn.get(self.role_tag)
            if type(content) is str and type(said) is str:
                kind = self.roles.get(said)
                if (kind == "user" or kind == "assistant") and content and not content.isspace():
                    return Message(ROLES[kind], content)
        return self._closely(turn, number, origin)

    def _closely(self, turn: Mapping[str, Any], number: int, origin: Origin) -> Message:
        if self.role_tag not in turn:
            raise missing(turn, self.role_tag, origin)
        refuse_media(turn, origin)
        kind = self._kind(turn[self.role_tag], origin)
        role = ROLES[kind]
        calls = tuple(call for key in CALLS for call in calls_of(turn.get(key), key, origin))
        reasoning = _reasoning(turn, number, origin)
        content = turn.get(self.content_tag)
        if content is None and not (calls and role == "assistant"):
            if self.content_tag not in turn:
                raise missing(turn, self.content_tag, origin)
            raise DataError("data.wrong-type", where=origin, key=self.content_tag, expected="string", found="null")
        words = ""
        if isinstance(content, list):
            thoughts, words, asked = _parts(content, number, origin)
            if thoughts is not None and reasoning is not None and thoughts != reasoning:
                raise DataError("data.two-reasonings", where=origin, number=number, keys="reasoning, content")
            reasoning, calls = thoughts if reasoning is None else reasoning, (*calls, *asked)
        elif content is not None:
            words = text(content, self.content_tag, origin)
        if kind == "function":
            before, asked = calls_in(words, self.content_tag, origin)
            words, calls = before, (*calls, *asked)
        _only_assistant(role, number, origin, calls=calls, reasoning=reasoning)
        if (role == "assistant" and not calls) or role == "user":
            words = said_text(words, role, origin)
        return Message(
            role, words, _weight(turn, role, number, origin), reasoning, calls,
            _label(turn, "name", origin), _label(turn, "tool_call_id", origin),
        )  # fmt: skip

    def _kind(self, found: object, origin: Origin) -> str:
        kind = self.roles.get(found) if isinstance(found, str) else None
        if kind is not None:
            return kind
        word = short(found) if isinstance(found, str) else type_name(found)
        known = sorted(self.roles)
        raise DataError("data.unknown-role", where=origin, found=word, known=", ".join(known), hint=hint(word, known))


def _only_assistant(
    role: Role, number: int, origin: Origin, *, calls: tuple[ToolCall, ...], reasoning: str | None
) -> None:
    if role != "assistant" and (calls or reasoning):
        key = "tool_calls" if calls else "reasoning"
        raise DataError("data.only-assistant", where=origin, number=number, role=role, key=key)


def _label(turn: Mapping[str, Any], key: str, origin: Origin) -> str:
    value = turn.get(key)
    return "" if value is None else text(value, key, origin)


def _reasoning(turn: Mapping[str, Any], number: int, origin: Origin) -> str | None:
    """Thoughts beside the content. "" says that there were none; null says nothing."""
    found = {key: text(turn[key], key, origin) for key in REASONING if turn.get(key) is not None}
    if len(set(found.values())) > 1:
        raise DataError("data.two-reasonings", where=origin, number=number, keys=", ".join(found))
    return next(iter(found.values()), None)


def _weight(turn: Mapping[str, Any], role: Role, number: int, origin: Origin) -> float | None:
    """OpenAI's `weight`, and `train: false` for 0. Other turns are never trained, so theirs can only be 0."""
    value, train = turn.get("weight"), turn.get("train")
    if value is None and train is None:
        return None
    said = None if train is None else flag(train, "train", origin)
    if value is None:
        value = int(said is True)
    most = 1 if role == "assistant" else 0
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most:
        if said is not None and said != (value > 0):
            raise DataError("data.train-and-weight", where=origin, number=number, weight=value, train=str(said).lower())
        return float(value) if role == "assistant" else None
    found = type_name(value) if isinstance(value, (list, dict)) else short(str(value))
    raise DataError("data.bad-weight", where=origin, number=number, role=role, found=found)


def _parts(parts: list[Any], number: int, origin: Origin) -> tuple[str | None, str, tuple[ToolCall, ...]]:
    """Typed parts, joined: thoughts, then text, then calls. Another order could not be told from this one later."""
    thoughts: list[str] = []
    words: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            key = f"message {number}: part"
            raise DataError("data.wrong-type", where=origin, key=key, expected="object", found=type_name(part))
        kind = part.get("type")
        if kind in ("reasoning", "thinking"):
            late = words or calls
            thoughts.append(_inside(part, ("reasoning", "thinking", "text", "value"), origin))
        elif kind == "text":
            late = calls
            words.append(_inside(part, ("text", "value"), origin))
        elif kind == "tool_call":
            late = []
            value = next((part[key] for key in ("tool_call", "value", "text") if part.get(key) is not None), part)
            value = parsed(value, "tool_call", origin) if isinstance(value, str) else value
            asked = calls_of(value, "tool_call", origin)
            if not asked:
                raise DataError("data.call-shape", where=origin, key="tool_call", number=1, found=type_name(value))
            calls += asked
        else:
            _refuse_part(kind, number, origin)
        if late:
            raise DataError("data.part-order", where=origin, number=number, kind=kind)
    return "".join(thoughts) if thoughts else None, "".join(words), tuple(calls)


def _refuse_part(kind: object, number: int, origin: Origin) -> NoReturn:
    word = short(kind) if isinstance(kind, str) else type_name(kind)
    if any(medium in word for medium in ("image", "audio", "video")):
        raise DataError("data.media-not-built", where=origin, key=word)
    raise DataError("data.part-unknown", where=origin, number=number, kind=word)


def _inside(part: Mapping[str, Any], keys: tuple[str, ...], origin: Origin) -> str:
    key = next((key for key in keys if part.get(key) is not None), None)
    if key is None:
        raise missing(part, keys[0], origin)
    return text(part[key], key, origin)


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


def _seen_pair(turns: object) -> tuple[str, str] | None:
    first = turns[0] if isinstance(turns, list) and turns else turns
    if not isinstance(first, dict):
        return None
    return next((pair for pair in PAIRS if pair[0] in first and (pair[1] in first or first.get("tool_calls"))), None)
