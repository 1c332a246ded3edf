"""Answers that were compared or judged: `chosen`, `rejected`, a preferred one and another, a label.

In: the value of a column and the prompt before it. Out: the one `Message` that it adds. An answer may be written as a
text, as a message, or as a list: of the answer alone, or of the whole dialogue, which then begins with the prompt.
It deliberately knows no columns: the converters do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_factory.data.calls import Tools
from llama_factory.data.order import check_order, check_prompt
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import flag, missing, nothing, said_text
from llama_factory.data.schemas import check_calls
from llama_factory.data.turns import Turns
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Labelled, Message, Origin, Preference


def preference(
    row: Mapping[str, Any],
    sides: tuple[str, str],
    prompt: Sequence[Message],
    turns: Turns,
    origin: Origin,
    tools: Tools = (),
) -> Preference:
    """`sides`: the columns of the better and of the worse answer."""
    for side in sides:
        if nothing(row.get(side)):
            raise missing({key: value for key, value in row.items() if key != side}, side, origin)
    messages = tuple(prompt)
    check_prompt(messages, origin, sides[0])
    chosen, rejected = (answer(row[side], side, messages, turns, origin) for side in sides)
    check_calls((*messages, chosen, rejected), tools, origin)
    return Preference(messages, chosen, rejected, origin, tools)


def conversation(messages: Sequence[Message], origin: Origin, tools: Tools = ()) -> Conversation:
    """Messages in a good order, with calls that fit the tools."""
    check_order(messages, origin)
    if tools:
        check_calls(messages, tools, origin)
    return Conversation(tuple(messages), origin, tools)


def labelled(whole: Conversation, label: object, key: str) -> Labelled:
    return Labelled(whole, flag(label, key, whole.origin))


def answer(value: object, key: str, prompt: Sequence[Message], turns: Turns, origin: Origin) -> Message:
    """One message of the assistant."""
    if isinstance(value, str):
        return Message("assistant", said_text(value, "assistant", origin))
    if isinstance(value, dict):
        said = [turns.one(value, 1, origin)]
    elif isinstance(value, list):
        said = _after(turns.all(value, key, origin), key, prompt, origin)
    else:
        raise DataError("data.wrong-type", where=origin, key=key, expected="string", found=type_name(value))
    if len(said) != 1:
        raise DataError("data.answer-several", where=origin, key=key, count=len(said))
    if said[0].role != "assistant":
        raise DataError("data.answer-role", where=origin, key=key, found=said[0].role)
    return said[0]


def shared_prompt(chosen: Sequence[Message], rejected: Sequence[Message]) -> Sequence[Message]:
    """What two whole dialogues begin with, short of their last messages."""
    most = min(len(chosen), len(rejected)) - 1
    same = next((at for at in range(most) if chosen[at] != rejected[at]), most)
    return chosen[:same]


def _after(said: list[Message], key: str, prompt: Sequence[Message], origin: Origin) -> list[Message]:
    """The messages after the prompt, where a column repeats it."""
    if said[0].role == "assistant":
        return said
    bare = [message for message in prompt if message.role != "system"]
    for begin in (list(prompt), bare):
        if begin and said[: len(begin)] == begin:
            return said[len(begin) :]
    raise DataError("data.prompt-differs", where=origin, key=key)
