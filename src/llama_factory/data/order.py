"""The order of turns that a dialogue may have.

In: messages. Out: nothing, or the letter that names the turn that breaks it. An optional system text comes first, then
the user; the assistant answers, or calls functions whose results follow it, one turn each, before anybody else speaks.
Results are matched with calls by their ids where rows have them. It deliberately repairs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from llama_factory.data.words import listed, short
from llama_factory.errors import DataError
from llama_factory.records import Message, Origin

CALLED = "called"
"""In place of a role: the assistant, with calls whose results must come next."""

FOLLOWS = frozenset(
    (
        ("", "user"), ("user", "assistant"), ("assistant", "user"), (CALLED, "tool"), ("tool", "tool"),
        ("tool", "assistant"), ("tool", "user"),
    )
)  # fmt: skip


def check_order(messages: Sequence[Message], origin: Origin) -> None:
    """A whole dialogue: the assistant has the last word."""
    last = _in_order(messages, origin)
    if last not in ("assistant", CALLED):
        raise DataError("data.ends-with-user", where=origin, found=last)


def check_prompt(messages: Sequence[Message], origin: Origin, key: str) -> None:
    """What stands before an answer: the assistant does not have the last word."""
    last = _in_order(messages, origin)
    if last in ("assistant", CALLED):
        raise DataError("data.prompt-ends", where=origin, key=key)


def _in_order(messages: Sequence[Message], origin: Origin) -> str:
    """The role of the last turn."""
    before = ""
    open_ids: dict[str, None] = {}
    for number, message in enumerate(messages, 1):
        role: str = message.role
        if role == "system":
            if number > 1:
                raise DataError("data.system-not-first", where=origin, number=number)
            continue
        if (before, role) not in FOLLOWS:
            _refuse(before, role, number, origin)
        if role == "tool":
            _answered(message, number, open_ids, origin)
        elif before == "tool" and open_ids and "" not in open_ids:
            raise DataError("data.call-unanswered", where=origin, number=number, found=listed(open_ids))
        if message.tool_calls:
            role = CALLED
            open_ids = {call.id: None for call in message.tool_calls}
        before = role
    if not before:
        raise DataError("data.no-turns", where=origin)
    if before == "tool" and open_ids and "" not in open_ids:
        raise DataError("data.call-unanswered", where=origin, number=len(messages), found=listed(open_ids))
    return before


def _answered(message: Message, number: int, open_ids: dict[str, None], origin: Origin) -> None:
    """A result without an id, or one for calls without ids, belongs to whatever was called."""
    if "" in open_ids:
        return
    if not message.tool_call_id:
        open_ids.clear()
        open_ids[""] = None
    elif message.tool_call_id not in open_ids:
        found = short(message.tool_call_id)
        raise DataError("data.unknown-call-id", where=origin, number=number, found=found, known=listed(open_ids))
    else:
        del open_ids[message.tool_call_id]


def _refuse(before: str, role: str, number: int, origin: Origin) -> NoReturn:
    if role == "tool":
        raise DataError("data.result-without-call", where=origin, number=number)
    if before == CALLED:
        raise DataError("data.call-unanswered", where=origin, number=number, found=role)
    if before == "":
        raise DataError("data.starts-with-assistant", where=origin)
    raise DataError("data.two-in-a-row", where=origin, role=role)
