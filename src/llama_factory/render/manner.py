"""How one template wants to be spoken to: the forms in which messages, thoughts and tool calls are handed to it.

In: a `Message`, its number. Out: the mapping that a chat template reads. Templates agree on role and content, and on
little else: some take a call's arguments as an object and some as JSON text, some want no content beside a call, and
the role of a result has four names. What is tried stands in four short lists; `template.Template` finds the first
combination that loses nothing. Every word that came with the row is `Traced`, names and keys included: none of them
can become a control token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from llama_factory.records import Message, ToolCall
from llama_factory.render.provenance import Traced, to_json
from llama_factory.render.thoughts import together

TOOLS = -2
"""In a span: these characters came from the schemas of the tools."""

Ids = Literal["given", "nine"]
Arguments = Literal["object", "text"]

IDS: Sequence[Ids] = ("given", "nine")
TOOL_ROLES = ("tool", "observation", "ipython", "function")
ARGUMENTS: Sequence[Arguments] = ("object", "text")
SILENT = ("", None)
THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class Manner:
    """thoughts: the key under which they are handed over; None: they are written into the content.

    arguments: of a call. silent: the content of an answer that only calls. ids: a call's id as the row gives it, or
    nine letters and digits.
    """

    thoughts: str | None = None
    arguments: Arguments = "object"
    silent: str | None = ""
    tool_role: str = "tool"
    ids: Ids = "given"


def calling(manner: Manner) -> list[Manner]:
    """The ways to hand over calls and results, the most usual first."""
    return [
        replace(manner, ids=ids, tool_role=role, arguments=arguments, silent=silent)
        for ids, role, arguments, silent in product(IDS, TOOL_ROLES, ARGUMENTS, SILENT)
    ]


def as_turns(messages: Sequence[Message], manner: Manner) -> list[dict[str, Any]]:
    ids = _ids(messages, manner)
    return [_turn(message, number, manner, ids[number]) for number, message in enumerate(messages)]


def as_tools(tools: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    return [traced(tool, TOOLS) for tool in tools] or None


def traced(value: Any, message: int) -> Any:
    """JSON whose every string, keys too, is known to have come from `message`."""
    if isinstance(value, str):
        return Traced.of(value, message)
    if isinstance(value, Mapping):
        return {traced(key, message): traced(item, message) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [traced(item, message) for item in value]
    return value


def _turn(message: Message, number: int, manner: Manner, ids: Sequence[str]) -> dict[str, Any]:
    if message.role == "tool":
        turn: dict[str, Any] = {"role": manner.tool_role, "content": Traced.of(message.content, number)}
        for key, value in (("name", message.name), ("tool_call_id", *ids)):
            if value:
                turn[key] = Traced.of(value, number)
        return turn
    if message.role != "assistant":
        return {"role": message.role, "content": Traced.of(message.content, number)}
    if manner.thoughts is None:
        turn = {"role": "assistant", "content": together(message, number)}
    else:
        turn = {"role": "assistant", "content": Traced.of(message.content, number)}
        if message.reasoning is not None:
            turn[manner.thoughts] = Traced.of(message.reasoning, number)
    if message.tool_calls:
        turn["content"] = turn["content"] or manner.silent
        turn["tool_calls"] = [_call(call, number, manner, id) for call, id in zip(message.tool_calls, ids, strict=True)]
    return turn


def _call(call: ToolCall, number: int, manner: Manner, id: str) -> dict[str, Any]:
    arguments = traced(call.arguments, number)
    if manner.arguments == "text":
        arguments = to_json(arguments, ensure_ascii=False)
    function = {"name": Traced.of(call.name, number), "arguments": arguments}
    return {"id": Traced.of(id, number), "type": "function", "function": function}


def _ids(messages: Sequence[Message], manner: Manner) -> list[tuple[str, ...]]:
    """Of every message the ids of its calls, or of the call whose result it is: a result without one is the next's."""
    known: dict[str, str] = {}
    waiting: list[str] = []
    found: list[tuple[str, ...]] = []
    count = 0
    for message in messages:
        if message.tool_calls:
            waiting = []
            for call in message.tool_calls:
                given = call.id if manner.ids == "given" else ""
                waiting.append(given or f"call{count:05d}")  # nine letters and digits: the form that is asked for
                known[call.id] = waiting[-1]
                count += 1
            found.append(tuple(waiting))
        elif message.role == "tool":
            id = known.get(message.tool_call_id) if message.tool_call_id else next(iter(waiting), "")
            id = message.tool_call_id if id is None else id
            waiting = [other for other in waiting if other != id]
            found.append((id,))
        else:
            found.append(())
    return found
