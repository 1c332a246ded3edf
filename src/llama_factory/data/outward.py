"""A record -> a row of a named format, for files that other programs read.

In: a record of any kind, the name of a format. Out: a row as JSON holds it. Each row is read back by the converter of
its format before it is given out, and is the same record or is refused: nothing that a format cannot hold (tool calls,
thoughts, weights, an empty system text) is lost in silence. It deliberately renders nothing and writes no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llama_factory.data.alpaca import Alpaca
from llama_factory.data.calls import CLOSED, Tools
from llama_factory.data.completions import Completion
from llama_factory.data.formats import Converter
from llama_factory.data.messages import Dialogue
from llama_factory.data.plain import Classes, Plain
from llama_factory.errors import DataError
from llama_factory.records import Classified, Conversation, Labelled, Message, Preference, Record, Text

Row = dict[str, Any]

FROM = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
KINDS: Mapping[type[Record], str] = {
    Conversation: "messages",
    Preference: "chosen + rejected",
    Labelled: "kto_tag",
    Text: "text",
    Classified: "text + label",
}


class _CannotHoldError(Exception):
    """The first argument names what would be lost."""


class Written(NamedTuple):
    """How one format writes one kind of record, and reads it back."""

    write: Callable[[Any], Row]
    reader: Converter


def as_row(record: Record, format: str) -> Row:
    """A row that is read back as this very record.

    Raises `DataError("data.cannot-hold")` where the format has no place for something that the record says.
    """
    written = FORMATS[format].get(type(record))
    if written is None:
        raise _refused(record, format, KINDS[type(record)])
    try:
        row = written.write(record)
        same = _read_back(written.reader, row, record) == record
    except _CannotHoldError as problem:
        raise _refused(record, format, str(problem.args[0])) from None
    except RecursionError:
        raise DataError("data.too-deep", where=record.origin) from None
    if not same:
        raise _refused(record, format, "content")
    return row


def _read_back(reader: Converter, row: Row, record: Record) -> Record | None:
    try:
        return reader.convert(row, record.origin)
    except DataError:
        return None


def _refused(record: Record, format: str, what: str) -> DataError:
    return DataError("data.cannot-hold", where=record.origin, format=format, what=what)


def _alpaca(record: Conversation) -> Row:
    return {**_asked(record.messages[:-1], record.tools), "output": _words(record.messages[-1], "assistant")}


def _alpaca_pair(record: Preference) -> Row:
    sides = {"chosen": _words(record.chosen, "assistant"), "rejected": _words(record.rejected, "assistant")}
    return {**_asked(record.messages, record.tools), **sides}


def _alpaca_judged(record: Labelled) -> Row:
    return {**_alpaca(record.conversation), "kto_tag": record.desirable}


def _asked(messages: Sequence[Message], tools: Tools) -> Row:
    """The columns before the answer; `history` holds the rounds before the last question."""
    row: Row = {"instruction": "", "input": ""}
    if messages[0].role == "system":
        row["system"] = _words(messages[0], "system")
        messages = messages[1:]
        if not row["system"]:
            raise _CannotHoldError("system: ''")
    said = [_words(message, ("user", "assistant")[at % 2]) for at, message in enumerate(messages)]
    row["instruction"] = said[-1]
    if len(said) > 1:
        row["history"] = [list(pair) for pair in zip(said[:-1:2], said[1:-1:2], strict=True)]
    return {**row, "tools": _json(list(tools))} if tools else row


def _words(message: Message, role: str) -> str:
    """The content of a message that says nothing beside it."""
    if message.role != role:
        raise _CannotHoldError(f"role: {message.role}")
    if message.tool_calls:
        raise _CannotHoldError("tool_calls")
    _refuse_beside(message)
    if message.name or message.tool_call_id:
        raise _CannotHoldError("name" if message.name else "tool_call_id")
    return message.content


def _refuse_beside(message: Message) -> None:
    if message.reasoning is not None:
        raise _CannotHoldError("reasoning")
    if message.weight is not None:
        raise _CannotHoldError("weight")


def _prompt_response(record: Conversation) -> Row:
    if len(record.messages) != 2 or record.tools:
        raise _CannotHoldError(
            "tools" if record.tools else "system" if record.messages[0].role == "system" else "history"
        )
    return {"prompt": _words(record.messages[0], "user"), "response": _words(record.messages[1], "assistant")}


def _sharegpt(record: Conversation) -> Row:
    return {"conversations": [_spoken(message) for message in record.messages], **_tools_text(record.tools)}


def _sharegpt_pair(record: Preference) -> Row:
    sides = {"chosen": _spoken(record.chosen), "rejected": _spoken(record.rejected)}
    return {"conversations": [_spoken(message) for message in record.messages], **sides, **_tools_text(record.tools)}


def _sharegpt_judged(record: Labelled) -> Row:
    return {**_sharegpt(record.conversation), "kto_tag": record.desirable}


def _tools_text(tools: Tools) -> Row:
    return {"tools": _json(list(tools))} if tools else {}


def _spoken(message: Message) -> Row:
    """One turn. Ids and names stand beside the value, where programs that do not know them pass over them."""
    _refuse_beside(message)
    turn: Row = {"from": FROM[message.role], "value": message.content}
    if message.tool_calls:
        calls = [_plain_call(call.name, call.arguments, call.id) for call in message.tool_calls]
        turn = {"from": "function_call", "value": _json(calls if len(calls) > 1 else calls[0])}
        if message.content:
            if not (message.content.startswith("<think>") and message.content.endswith(CLOSED)):
                raise _CannotHoldError("content + tool_calls")
            turn["value"] = f"{message.content}\n{turn['value']}"
    return turn | _labels(message)


def _plain_call(name: str, arguments: Mapping[str, Any], id: str) -> Row:
    return {"name": name, "arguments": dict(arguments), **({"id": id} if id else {})}


def _labels(message: Message) -> Row:
    return {key: value for key in ("name", "tool_call_id") if (value := getattr(message, key))}


def _openai(record: Conversation) -> Row:
    return {"messages": [_message(message) for message in record.messages], **_tools_list(record.tools)}


def _openai_pair(record: Preference) -> Row:
    asked = {"messages": [_message(message) for message in record.messages], **_tools_list(record.tools)}
    sides = {"preferred_output": [_message(record.chosen)], "non_preferred_output": [_message(record.rejected)]}
    return {"input": asked, **sides}


def _openai_judged(record: Labelled) -> Row:
    return {**_openai(record.conversation), "label": record.desirable}


def _tools_list(tools: Tools) -> Row:
    return {"tools": [dict(tool) for tool in tools]} if tools else {}


def _message(message: Message) -> Row:
    row: Row = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        row["reasoning_content"] = message.reasoning
    if message.tool_calls:
        row["tool_calls"] = [
            {
                **({"id": call.id} if call.id else {}),
                "type": "function",
                "function": {"name": call.name, "arguments": _json(dict(call.arguments))},
            }
            for call in message.tool_calls
        ]
    if message.weight is not None:
        row["weight"] = message.weight
    return row | _labels(message)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_ALPACA = Alpaca.choose({}, "alpaca", ())
_SHAREGPT = Dialogue.choose("sharegpt", {}, {}, ())
_OPENAI = Dialogue.choose("openai", {}, {}, ())
_COMPARED = Completion.choose({}, (), "openai", prompt="input", sides=("preferred_output", "non_preferred_output"))
_ASKED = Alpaca.choose({"prompt": "prompt", "response": "response"}, "prompt_response", ())

FORMATS: Mapping[str, Mapping[type[Record], Written]] = {
    "alpaca": {
        Conversation: Written(_alpaca, _ALPACA),
        Preference: Written(_alpaca_pair, _ALPACA),
        Labelled: Written(_alpaca_judged, _ALPACA),
    },
    "sharegpt": {
        Conversation: Written(_sharegpt, _SHAREGPT),
        Preference: Written(_sharegpt_pair, _SHAREGPT),
        Labelled: Written(_sharegpt_judged, _SHAREGPT),
    },
    "openai": {
        Conversation: Written(_openai, _OPENAI),
        Preference: Written(_openai_pair, _COMPARED),
        Labelled: Written(_openai_judged, _OPENAI),
    },
    "prompt_response": {Conversation: Written(_prompt_response, _ASKED)},
    "text": {Text: Written(lambda record: {"text": record.text}, Plain("text"))},
    "classification": {
        Classified: Written(lambda record: {"text": record.text, "label": record.label}, Classes("text", "label"))
    },
}
"""What each format can hold. `openai` holds everything that a dialogue can say."""
