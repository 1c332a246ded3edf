"""Calls compared with the schemas of their tools.

In: messages and the tools of their row. Out: nothing, or the letter that names tool and argument, what the schema
expects and what was found. Types, required and unknown arguments, enums and nesting are compared by `jsonschema`;
regular expressions are not tried (a pattern may take for ever), and nothing is fetched. Python's names of types
(`str`, `dict`), which many data sets write, are read as JSON's. It deliberately changes no schema that is rendered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llama_factory.data.calls import Tools
from llama_factory.data.reading import type_name
from llama_factory.data.words import hint, listed, short
from llama_factory.errors import DataError
from llama_factory.records import Message, Origin, ToolCall

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

ALIASES = {
    "dict": "object", "map": "object", "hash": "object", "list": "array", "tuple": "array", "set": "array",
    "str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number", "double": "number",
    "bool": "boolean", "none": "null",
}  # fmt: skip
UNTRIED = ("pattern", "patternProperties", "format", "$schema", "$id")
NAMED = ("properties", "$defs", "definitions")
KEPT_SCHEMAS = 1024


def check_calls(messages: Iterable[Message], tools: Tools, origin: Origin) -> None:
    """Every call of every message. Without tools nothing is known about calls."""
    if not tools:
        return
    by_name: dict[str, Mapping[str, Any]] | None = None
    for message in messages:
        for call in message.tool_calls:
            if by_name is None:
                by_name = {tool["function"]["name"]: tool["function"] for tool in tools}
            if call.name not in by_name:
                near = hint(call.name, by_name)
                raise DataError(
                    "data.unknown-tool", where=origin, tool=short(call.name), hint=near, known=listed(by_name)
                )
            _check(call, by_name[call.name].get("parameters"), origin)


def _check(call: ToolCall, parameters: Mapping[str, Any] | None, origin: Origin) -> None:
    if not parameters:
        return
    tool = short(call.name)
    try:
        validator = _validator(json.dumps(parameters))
        problem = None if isinstance(validator, str) else next(validator.iter_errors(dict(call.arguments)), None)
    except Exception as failed:  # noqa: BLE001 - whatever a schema of a row makes its library do is that row's fault
        reason = short(str(failed).split("\n")[0] or type(failed).__name__)
        raise DataError("data.tool-schema", where=origin, tool=tool, reason=reason) from None
    if isinstance(validator, str):
        raise DataError("data.tool-schema", where=origin, tool=tool, reason=validator)
    if problem is None:
        return
    place = ".".join(str(step) for step in problem.absolute_path)
    if problem.validator == "required":
        absent = next(name for name in problem.validator_value if name not in problem.instance)
        path = short(f"{place}.{absent}" if place else absent)
        raise DataError("data.argument-missing", where=origin, tool=tool, argument=path, found=listed(problem.instance))
    if problem.validator == "additionalProperties":
        known = list(problem.schema.get("properties", ()))
        extra = next((name for name in problem.instance if name not in known), "")
        path = short(f"{place}.{extra}" if place else extra)
        raise DataError(
            "data.argument-unknown", where=origin, tool=tool, argument=path, hint=hint(extra, known),
            known=listed(known),
        )  # fmt: skip
    expected = short(f"{problem.validator}: {json.dumps(problem.validator_value, ensure_ascii=False)}")
    shown = short(json.dumps(problem.instance, ensure_ascii=False, default=str))
    raise DataError(
        "data.argument-wrong", where=origin, tool=tool, argument=short(place) or "-", expected=expected,
        found=f"{type_name(problem.instance)} {shown}",
    )  # fmt: skip


@lru_cache(maxsize=KEPT_SCHEMAS)
def _validator(text: str) -> Draft202012Validator | str:
    """A compiled schema, or in a sentence why it is none."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    schema = _readable(json.loads(text))
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        return short(f"{'.'.join(str(step) for step in problem.absolute_path)}: {problem.message}".lstrip(": "), 120)
    return Draft202012Validator(schema, registry=Registry())


def _readable(schema: Any) -> Any:
    """A copy with JSON's names of types, without what is not tried, nulls (columns of a table that this schema does
    not have) and a `required: true`, which older drafts wrote at the argument itself."""
    if isinstance(schema, list):
        return [_readable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {
        key: {name: _readable(one) for name, one in value.items() if one is not None}
        if key in NAMED and isinstance(value, dict)
        else _readable(value)
        for key, value in schema.items()
        if key not in UNTRIED and (value is not None or key in ("default", "const"))
    }
    if "patternProperties" in schema:
        copy.pop("additionalProperties", None)
    if not isinstance(copy.get("required"), list):
        copy.pop("required", None)
    kind = schema.get("type")
    if isinstance(kind, str):
        word = kind.lower()
        if word == "any":
            del copy["type"]
        else:
            copy["type"] = ALIASES.get(word, word)
    return copy
