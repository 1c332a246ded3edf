"""Records written as rows: what is read back is what was written, and what a format cannot hold is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from llama_factory.data.formats import choose
from llama_factory.data.outward import FORMATS, as_row
from llama_factory.data.registry import Entry
from llama_factory.errors import DataError
from llama_factory.records import (
    Classified,
    Conversation,
    Labelled,
    Message,
    Origin,
    Preference,
    Record,
    Text,
    ToolCall,
)  # fmt: skip

HERE = Origin("rows.jsonl", 1)
LETTERS = some.characters(exclude_categories=("Cs",), exclude_characters="\0")
WORDS = some.text(LETTERS, min_size=1, max_size=12).filter(lambda text: not text.isspace())
THOUGHTS = WORDS.map(lambda text: f"<think>\n{text}\n</think>")
JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**70), 2**70) | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(LETTERS, max_size=5),
    lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.text(LETTERS, max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@some.composite
def dialogues(draw: Any, *, rich: bool) -> tuple[Message, ...]:
    """Messages in a good order. rich: with all that a message can say beside its content."""
    messages = []
    if draw(some.booleans()):
        messages.append(Message("system", draw(some.text(LETTERS, min_size=0 if rich else 1, max_size=5))))
    for _ in range(draw(some.integers(1, 3))):
        messages.append(Message("user", draw(WORDS), name=draw(some.sampled_from(["", "me"])) if rich else ""))
        if rich and draw(some.booleans()):
            ids = ["", ""] if draw(some.booleans()) else ["A", "B"]
            calls = tuple(
                ToolCall("f", draw(some.dictionaries(some.text(LETTERS, max_size=4), JSON, max_size=2)), id)
                for id in ids[: draw(some.integers(1, 2))]
            )
            messages.append(Message("assistant", draw(some.just("") | THOUGHTS), tool_calls=calls))
            messages += [Message("tool", draw(some.text(LETTERS, max_size=5)), tool_call_id=call.id) for call in calls]
        messages.append(draw(answers(rich=rich)))
    return tuple(messages)


@some.composite
def answers(draw: Any, *, rich: bool) -> Message:
    if not rich:
        return Message("assistant", draw(WORDS | THOUGHTS))
    weight = draw(some.sampled_from([None, 0.0, 0.25, 1.0]))
    return Message("assistant", draw(WORDS), weight, draw(some.none() | some.text(LETTERS, max_size=4)))


@some.composite
def records(draw: Any, *, rich: bool) -> Record:
    kind = draw(some.sampled_from([Conversation, Preference, Labelled, Text, Classified]))
    if kind is Text:
        return Text(draw(WORDS), HERE)
    if kind is Classified:
        return Classified(draw(WORDS), draw(some.text(LETTERS, min_size=1, max_size=4)), HERE)
    messages, tools = draw(dialogues(rich=rich)), ((TOOL,) if draw(some.booleans()) else ())
    if kind is Preference:
        return Preference(messages[:-1], messages[-1], draw(answers(rich=rich)), HERE, tools)
    whole = Conversation(messages, HERE, tools)
    return Labelled(whole, draw(some.booleans())) if kind is Labelled else whole


def read_back(row: dict[str, Any]) -> Record:
    """Through a file's bytes, recognised as a file without a registry would be."""
    row = json.loads(json.dumps(row, ensure_ascii=False).encode())
    entry = Entry("rows", Path("rows.jsonl"), "rows.jsonl", None, {}, {})
    return choose(entry, [(HERE, row)]).convert(row, HERE)


SIMPLE = {
    Conversation: {"alpaca", "sharegpt", "openai"},
    Preference: {"alpaca", "sharegpt", "openai"},
    Labelled: {"alpaca", "sharegpt", "openai"},
    Text: {"text"},
    Classified: {"classification"},
}
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(records(rich=False))
def test_plain_records_come_back_from_every_format_that_has_their_kind(record: Record) -> None:
    for format in SIMPLE[type(record)]:
        assert read_back(as_row(record, format)) == record
    for format in set(FORMATS) - SIMPLE[type(record)] - {"prompt_response"}:
        with pytest.raises(DataError, match=format):
            as_row(record, format)


@QUICK
@given(records(rich=True))
def test_rich_records_come_back_whole_or_are_refused(record: Record) -> None:
    held = set()
    for format in FORMATS:
        try:
            row = as_row(record, format)
        except DataError as error:
            refused = (error.id, error.where)
        else:
            refused = None
            held.add(format)
            assert read_back(row) == record
        assert refused in (None, ("data.cannot-hold", "rows.jsonl:1"))
    assert held >= {format for format in ("openai", "text", "classification") if type(record) in FORMATS[format]}


USER, BOT = Message("user", "q"), Message("assistant", "a")
CALLED = Message("assistant", "", tool_calls=(ToolCall("f", {"x": 1}),))

LOST: list[tuple[Record, str, str]] = [
    (Conversation((USER, CALLED), HERE), "alpaca", "tool_calls"),
    (Conversation((USER, CALLED, Message("tool", "1"), BOT), HERE), "alpaca", "tool_calls"),
    (Conversation((USER, Message("assistant", "a", reasoning="r")), HERE), "alpaca", "reasoning"),
    (Conversation((USER, Message("assistant", "a", reasoning="r")), HERE), "sharegpt", "reasoning"),
    (Conversation((USER, Message("assistant", "a", weight=0.0), USER, BOT), HERE), "alpaca", "weight"),
    (Conversation((USER, Message("assistant", "a", weight=0.0), USER, BOT), HERE), "sharegpt", "weight"),
    (Conversation((USER, Message("assistant", "b", tool_calls=CALLED.tool_calls)), HERE), "sharegpt", "content"),
    (Conversation((Message("system", ""), USER, BOT), HERE), "alpaca", "system"),
    (Conversation((Message("user", "q", name="me"), BOT), HERE), "alpaca", "name"),
    (Conversation((Message("system", "s"), USER, BOT), HERE), "prompt_response", "system"),
    (Conversation((USER, BOT, USER, BOT), HERE), "prompt_response", "history"),
    (Conversation((USER, BOT), HERE, (TOOL,)), "prompt_response", "tools"),
    (Preference((USER,), BOT, BOT, HERE), "prompt_response", "chosen"),
    (Text("once", HERE), "openai", "text"),
]


@pytest.mark.parametrize(("record", "format", "what"), LOST)
def test_what_a_format_cannot_hold_is_named(record: Record, format: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        as_row(record, format)
    assert caught.value.id == "data.cannot-hold"
    assert what in str(caught.value.values["what"])
    assert caught.value.letter("zh")


def test_rows_look_as_other_programs_write_them() -> None:
    called = (USER, CALLED, Message("tool", "1"), BOT)
    assert as_row(Conversation(called, HERE, (TOOL,)), "sharegpt") == {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "a"},
        ],
        "tools": json.dumps([TOOL]),
    }
    rounds = (Message("system", "s"), USER, BOT, Message("user", "r"), Message("assistant", "b"))
    assert as_row(Conversation(rounds, HERE), "alpaca") == {
        "instruction": "r", "input": "", "output": "b", "system": "s", "history": [["q", "a"]]
    }  # fmt: skip
    assert as_row(Preference((USER,), BOT, Message("assistant", "b"), HERE), "openai") == {
        "input": {"messages": [{"role": "user", "content": "q"}]},
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    }
    assert as_row(Conversation((USER, BOT), HERE), "prompt_response") == {"prompt": "q", "response": "a"}


@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("alpaca_zh_demo.json", "sharegpt", 1000),
        ("dpo_en_demo.json", "openai", 299),
        ("dpo_en_demo.json", "alpaca", 299),
        ("kto_en_demo.json", "alpaca", 300),
        ("glaive_toolcall_en_demo.json", "openai", 299),
        ("reason_tool_use_demo_50.jsonl", "openai", 50),
        ("c4_demo.jsonl", "text", 300),
    ],
)
def test_real_files_go_into_another_format_and_come_back(name: str, format: str, count: int, shared_data: Path) -> None:
    from llama_factory.data.reading import read_rows

    rows = [row for row in read_rows(shared_data / name, name) if not isinstance(row, DataError)]
    entry = Entry(name, Path(name), name, None, {}, {})
    converter = choose(entry, rows[:20])
    written = 0
    for origin, row in rows:
        try:
            record = converter.convert(row, origin)
        except DataError:
            continue
        back = read_back(as_row(record, format))
        assert type(back) is type(record)
        assert as_row(back, format) == as_row(record, format)
        written += 1
    assert written == count
