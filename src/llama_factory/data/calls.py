"""Tools and calls of them, as rows write them -> OpenAI's schemas and `ToolCall`s.

In: the `tools` column (a list, or JSON text of one), a message's `tool_calls`, the text of a `function_call` turn.
Out: `{"type": "function", "function": {...}}` for every tool, and calls whose arguments are objects. It deliberately
does not compare calls with schemas: that is `schemas`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llama_factory.data.jsonvalue import Json, Parser
from llama_factory.data.reading import type_name
from llama_factory.data.refusals import none_listed
from llama_factory.data.words import short
from llama_factory.errors import DataError
from llama_factory.records import Origin, ToolCall

Tools = tuple[Mapping[str, Any], ...]

CLOSED = "</think>"
WRAPPED, UNWRAPPED = "<tool_call>", "</tool_call>"
KEPT_TOOLS = 512
"""Lists of tools whose text was met before; most files repeat a few."""


def tools_of(value: object, key: str, origin: Origin) -> Tools:
    """The schemas of a row. A plain `{name, description, parameters}` is wrapped as OpenAI writes it."""
    if none_listed(value):
        return ()
    if isinstance(value, str):
        found = _known_tools(value)
        return found if found is not None else _tools(parsed(value, key, origin), key, origin)
    return _tools(value, key, origin)


@lru_cache(maxsize=KEPT_TOOLS)
def _known_tools(text: str) -> Tools | None:
    """None for text in which something is wrong: the letter about it needs a place."""
    nowhere = Origin("", 0)
    try:
        return _tools(parsed(text, "tools", nowhere), "tools", nowhere)
    except DataError:
        return None


def _tools(value: object, key: str, origin: Origin) -> Tools:
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise DataError("data.wrong-type", where=origin, key=key, expected="array", found=type_name(value))
    tools = tuple(_tool(one, number, key, origin) for number, one in enumerate(value, 1))
    names: set[str] = set()
    for tool in tools:
        name = tool["function"]["name"]
        if name in names:
            raise DataError("data.tool-twice", where=origin, key=key, name=short(name))
        names.add(name)
    return tools


def _tool(value: object, number: int, key: str, origin: Origin) -> Mapping[str, Any]:
    inner = value.get("function") if isinstance(value, dict) and isinstance(value.get("function"), dict) else value
    if not isinstance(inner, dict):
        raise DataError("data.tool-shape", where=origin, key=key, number=number, found=type_name(inner))
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise DataError("data.tool-shape", where=origin, key=key, number=number, found=short(str(list(inner)[:8])))
    parameters = inner.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        found = f"parameters: {type_name(parameters)}"
        raise DataError("data.tool-shape", where=origin, key=key, number=number, found=found)
    return value if isinstance(value, dict) and inner is not value else {"type": "function", "function": inner}


def calls_of(value: object, key: str, origin: Origin) -> tuple[ToolCall, ...]:
    """OpenAI's `tool_calls`: a list of `{"id", "function": {"name", "arguments"}}`, or the functions alone."""
    if none_listed(value):
        return ()
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise DataError("data.wrong-type", where=origin, key=key, expected="array", found=type_name(value))
    return tuple(_call(one, number, key, origin) for number, one in enumerate(value, 1))


def calls_in(text: str, key: str, origin: Origin) -> tuple[str, tuple[ToolCall, ...]]:
    """A `function_call` turn: JSON of one call or of a list; thoughts in `<think>` may stand before it, and each call
    may be wrapped in `<tool_call>`. Out: what stood before the calls, and the calls."""
    rest = text.strip()
    before = ""
    if rest.startswith("<think>") and CLOSED in rest:
        before, _, rest = rest.partition(CLOSED)
        before, rest = before + CLOSED, rest.strip()
    if rest.startswith(WRAPPED):
        pieces = [piece.strip().removesuffix(UNWRAPPED) for piece in rest.split(WRAPPED)[1:]]
        calls = tuple(call for piece in pieces for call in calls_of(parsed(piece, key, origin), key, origin))
    else:
        calls = calls_of(parsed(rest, key, origin), key, origin)
    if not calls:
        raise DataError("data.call-shape", where=origin, key=key, number=1, found=short(rest))
    return before, calls


def parsed(text: str, key: str, origin: Origin) -> Json:
    """JSON inside a text of a row, as strict as the row itself."""
    parser = Parser()
    try:
        value = parser.whole(text)
    except json.JSONDecodeError as problem:
        raise DataError("data.bad-json", where=origin, key=key, column=problem.pos + 1, reason=problem.msg) from None
    except RecursionError:
        raise DataError("data.too-deep", where=origin) from None
    except ValueError as problem:
        raise DataError("data.bad-json", where=origin, key=key, column=1, reason=short(str(problem))) from None
    if fault := parser.fault(value, text, origin):
        raise fault
    return value


def _call(value: object, number: int, key: str, origin: Origin) -> ToolCall:
    inner = value.get("function") if isinstance(value, dict) and isinstance(value.get("function"), dict) else value
    if not isinstance(value, dict) or not isinstance(inner, dict):
        raise DataError("data.call-shape", where=origin, key=key, number=number, found=type_name(value))
    name, given = inner.get("name"), inner.get("arguments")
    arguments = parsed(given, f"{key}: arguments", origin) if isinstance(given, str) and given else given
    if not isinstance(name, str) or not name or "arguments" not in inner:
        raise DataError("data.call-shape", where=origin, key=key, number=number, found=short(str(list(inner)[:8])))
    if arguments is None or arguments == "":
        arguments = {}
    if not isinstance(arguments, dict):
        found = f"arguments: {type_name(arguments)}"
        raise DataError("data.call-shape", where=origin, key=key, number=number, found=found)
    id = value.get("id")
    return ToolCall(name, arguments, id if isinstance(id, str) else "")
