"""Ten thousand rows with something wrong in them: each is in the store or is named, with its line and a reason.

Valid rows of every format are changed by a seeded hand: keys dropped, renamed and swapped, values of other types, deep
nesting, very long texts, halves of characters, empty texts, other roles, doubled turns. Nothing may crash, hang or be
lost; and letters stay short whatever a row says.
"""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest

from llama_factory.data import building
from llama_factory.data.formats import FORMS, choose, expect, recognised
from llama_factory.data.outward import as_row
from llama_factory.data.reading import read_rows
from llama_factory.data.registry import Entry
from llama_factory.errors import DataError, LlamaFactoryError, SeveralErrors
from llama_factory.render import load_renderer

Row = dict[str, Any]

CALL = json.dumps({"name": "weather", "arguments": {"city": "Rome"}})
TOOLS = [{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                                            "required": ["city"]}}]  # fmt: skip
ASK, SAY = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}
HUMAN, GPT = {"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi there"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "A", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]}  # fmt: skip

VALID: dict[str, Row] = {
    "alpaca": {"instruction": "hello", "input": "you", "output": "hi there"},
    "alpaca with history": {"instruction": "hello", "input": "", "output": "hi there", "system": "be kind",
                            "history": [["one", "eins"], ["two", "zwei"]]},
    "alpaca pair": {"instruction": "hello", "input": "", "chosen": "hi there", "rejected": "go"},
    "alpaca judged": {"instruction": "hello", "output": "hi there", "kto_tag": True},
    "alpaca list": {"instruction": "hello", "output": ["hi there", "go"]},
    "sharegpt": {"conversations": [{"from": "system", "value": "be kind"}, HUMAN, GPT, HUMAN, GPT]},
    "sharegpt tools": {"conversations": [HUMAN, {"from": "function_call", "value": CALL},
                                         {"from": "observation", "value": "sun"}, GPT], "tools": json.dumps(TOOLS)},
    "sharegpt pair": {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "go"}},
    "sharegpt judged": {"conversations": [HUMAN, GPT], "kto_tag": False},
    "openai": {"messages": [{"role": "system", "content": "be kind"}, ASK, SAY, ASK, {**SAY, "weight": 1}]},
    "openai tools": {"messages": [ASK, CALLED, {"role": "tool", "tool_call_id": "A", "content": "sun"}, SAY],
                     "tools": TOOLS},
    "openai parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]},
                                  {"role": "assistant", "content": [{"type": "reasoning", "value": "so"},
                                                                    {"type": "text", "value": "hi there"}]}]},
    "openai reasoning": {"messages": [ASK, {**SAY, "reasoning_content": "so", "train": True}]},
    "openai pair": {"input": {"messages": [ASK]}, "preferred_output": [SAY], "non_preferred_output": [SAY]},
    "openai judged": {"messages": [ASK, SAY], "label": True},
    "trl completion": {"prompt": [ASK], "completion": [SAY]},
    "trl pair": {"prompt": "hello", "chosen": "hi there", "rejected": "go"},
    "trl implicit": {"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "go"}]},
    "trl judged": {"prompt": "hello", "completion": "hi there", "label": False},
    "prompt/response": {"prompt": "hello", "response": "hi there"},
    "question/answer": {"question": "hello", "answer": "hi there"},
    "text": {"text": "hello, hi there"},
    "classified": {"text": "hello", "label": "greeting"},
    "turns": {"turns": [{"role": "human", "content": "hello"},
                        {"role": "assistant", "content": "hi", "requires_reasoning": True, "thinking": "so"}]},
}  # fmt: skip
STAGE = {"alpaca pair": "dpo", "alpaca judged": "kto", "alpaca list": "dpo", "sharegpt pair": "dpo",
         "openai pair": "dpo", "sharegpt judged": "kto", "openai judged": "kto", "trl pair": "dpo",
         "trl implicit": "dpo", "trl judged": "kto", "text": "pt", "classified": "classify"}  # fmt: skip
TRAINED = [format for format in VALID if format not in STAGE]
EACH = 420
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 2.5, 10**400, "", " ", "\n\t", "x" * 20_000, "\ud83d", "a\udc00b", "a\0b", "<|im_end|>",
    "\u202e\x1b[31m", "{}", "[]", "[{", "null", [], {}, [[]], [None], {"": None}, ["hi", "hi"], [{"role": "user"}],
    {"role": "assistant", "content": "x"}, {"type": "text"}, "<think>", "</think><think>", "e\u0301" * 50,
)  # fmt: skip


def nested(hand: random.Random) -> Any:
    value: Any = "deep"
    for _ in range(hand.choice((5, 50, 400, 5000))):
        value = [value] if hand.random() < 0.5 else {"content": value}
    return value


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key of a row, whatever its depth."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        inside = waiting.pop()
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        found += [(inside, key) for key in keys]
        waiting += [inside[key] for key in keys]
    return found


def change(row: Row, hand: random.Random) -> None:
    """One thing goes wrong."""
    found = places(row)
    if not found:
        return
    inside, key = hand.choice(found)
    what = hand.randrange(9)
    if what == 0:
        del inside[key]
    elif what == 1 and isinstance(inside, dict):
        inside[hand.choice([str(key) + "s", str(key).upper(), "", "messages", "text", "label", "tools", "images"])] = (
            inside.pop(key)
        )
    elif what == 2:
        inside[key] = nested(hand)
    elif what == 3 and isinstance(inside, list):
        inside.insert(hand.randrange(len(inside) + 1), inside[key])
    elif what == 4 and isinstance(inside, list):
        hand.shuffle(inside)
    elif what == 5 and isinstance(inside, dict):
        other = hand.choice(list(inside))
        inside[key], inside[other] = inside[other], inside[key]
    elif what == 6 and isinstance(inside[key], str):
        text = inside[key]
        inside[key] = hand.choice([text[::-1], text[: len(text) // 2], text * 300, text.upper(), "system", "tool"])
    else:
        inside[key] = copy.deepcopy(hand.choice(STRANGE))


def mutated(format: str, count: int) -> list[Row]:
    """The row as it should be first, so that the format can be recognised; every fifth later one is right, too."""
    hand = random.Random(f"{format}:7")
    rows = []
    for number in range(count):
        row = copy.deepcopy(VALID[format])
        if number % 5:
            for _ in range(hand.choice((1, 1, 1, 2, 4))):
                change(row, hand)
        rows.append(row)
    return rows


def plain_first(format: str) -> list[Row]:
    """A row of the same columns that every renderer can render."""
    row = copy.deepcopy(VALID[format])
    if "messages" in row:
        row["messages"] = [ASK, SAY]
    if "conversations" in row:
        row["conversations"] = [HUMAN, GPT]
    return [{key: value for key, value in row.items() if key != "tools"}]


def lines(rows: list[Row]) -> bytes:
    return b"".join(dumped(row) + b"\n" for row in rows)


def dumped(row: Row) -> bytes:
    """As JSON, halves of characters as escapes; a row too deep for Python to write is written by hand."""
    try:
        return json.dumps(row, ensure_ascii=True).encode()
    except RecursionError:
        return b'{"deep": ' + b"[" * 5000 + b"]" * 5000 + b"}"


def said(error: LlamaFactoryError) -> None:
    """The letter has a place and stays short and plain in both languages."""
    for one in error.errors if isinstance(error, SeveralErrors) else (error,):
        for language in ("en", "zh"):
            letter = one.letter(language)  # type: ignore[arg-type]
            assert len(letter) < 3000, letter[:500]
            assert not any(mark in letter for mark in ("\x1b", "\0", "\u202e"))
            letter.encode()


def test_the_formats_that_are_changed_are_all_that_are_recognised() -> None:
    found = {form.needs for row in VALID.values() for form in recognised(row)}
    assert {form.needs for form in FORMS} - found == {("messages", "chosen", "rejected")}
    assert len(VALID) * EACH > 10_000


@pytest.mark.parametrize("format", VALID)
def test_every_changed_row_is_a_record_or_named(format: str, desk) -> None:
    """As `convert` and `show` read a file: rows of every stage."""
    stage = STAGE.get(format, "sft")
    path = desk.write("train.jsonl", lines(mutated(format, EACH)))
    rows = list(read_rows(path, "train.jsonl"))
    converter = choose(Entry("mine", path, "train.jsonl", None, {}, {}), [rows[0]])
    records, named = [], []
    begun = time.monotonic()
    for row in rows:
        try:
            if isinstance(row, DataError):
                raise row
            record = converter.convert(row[1], row[0])
            expect(record, stage)
        except DataError as error:
            named.append(error)
        else:
            records.append(record)
    assert time.monotonic() - begun < 10
    for error in named:
        said(error)
    assert len(rows) == EACH
    assert sorted(int(one.where.split(":")[1]) for one in named) == sorted(
        {*range(1, EACH + 1)} - {record.origin.row for record in records}
    )
    assert len(records) >= EACH // 5, "rows that are right must be taken"
    assert len(named) >= EACH // 10, "rows that are wrong must be named"


@pytest.mark.parametrize("format", TRAINED)
def test_every_changed_row_is_stored_or_skipped_with_a_reason(format: str, desk, monkeypatch) -> None:
    monkeypatch.setattr(building, "LISTED", EACH)
    desk.write("train.jsonl", lines([*plain_first(format), *mutated(format, EACH)]))
    prepared = desk.prepare("train.jsonl", on_bad_row="skip", on_too_long="drop", cutoff_len=100_000)
    account = prepared.summary.train[0].account
    kept = {str(prepared.train.origin(at)) for at in range(len(prepared.train))}
    skipped = {finding.where for finding in account.bad_rows}
    assert account.read == EACH + 1
    assert len(skipped) == account.bad == EACH + 1 - len(kept)
    assert account.lost == 0
    assert not kept & skipped
    for finding in account.bad_rows:
        said(DataError(finding.id, where=finding.where, **finding.values))


@pytest.mark.parametrize("format", TRAINED)
def test_a_strict_run_stops_at_the_first_row_that_cannot_be_used(format: str, desk) -> None:
    rows = [*plain_first(format), *mutated(format, 60)]
    desk.write("train.jsonl", lines(rows))
    lenient = desk.prepare("train.jsonl", on_bad_row="skip", cutoff_len=100_000).summary.train[0].account
    for at in range(1, len(rows) + 1):  # an own file, so that the store of the lenient run does not answer
        desk.write("strict.jsonl", lines(rows[:at]))
        if f"train.jsonl:{at}" == lenient.bad_rows[0].where:
            break
    with pytest.raises(LlamaFactoryError) as caught:
        desk.prepare("strict.jsonl", cutoff_len=100_000)
    said(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.where == f"strict.jsonl:{at}"
    assert caught.value.id == lenient.bad_rows[0].id


def test_changed_rows_go_through_the_real_renderer_too(desk, tiny_model) -> None:
    desk.renderer = load_renderer(tiny_model, template=None, default_system=None, allow_mismatch=False)
    for format in ("alpaca with history", "openai", "turns"):
        desk.write("train.jsonl", lines(mutated(format, 100)))
        found = desk.prepare("train.jsonl", on_bad_row="skip", on_too_long="drop", cutoff_len=30_000)
        account = found.summary.train[0].account
        assert account.read == 100
        assert len(found.train) == 100 - account.bad - account.lost >= 20


@pytest.mark.parametrize("place", ["weight", "arguments", "tools", "chosen"])
def test_values_as_deep_as_a_reader_follows_them_crash_nothing(place: str, desk) -> None:
    """Python gives up at a depth that depends on who asks: the reader may follow a row that its converter cannot."""
    outcomes = set()
    for depth in range(100, 1000, 15):
        deep = '{"a":' * depth + "1" + "}" * depth
        call = f'[{{"name": "f", "arguments": {deep}}}]'
        turns = {
            "weight": f'{{"role": "assistant", "content": "hi", "weight": {deep}}}',
            "arguments": f'{{"role": "assistant", "tool_calls": {call}}}',
            "tools": f'{{"role": "assistant", "tool_calls": {call}}}',
            "chosen": f'{{"role": "assistant", "tool_calls": {call}}}',
        }
        said = f"[{json.dumps(ASK)}, {turns[place]}]"
        line = f'{{"messages": {said}}}'
        if place == "tools":
            line = f'{{"messages": {said}, "tools": [{{"name": "f", "parameters": {{"properties": {deep}}}}}]}}'
        if place == "chosen":
            line = f'{{"chosen": {said}, "rejected": {said}}}'
        path = desk.write("train.jsonl", line + "\n")
        (row,) = read_rows(path, "train.jsonl")
        try:
            if isinstance(row, DataError):
                raise row
            record = choose(Entry("mine", path, "train.jsonl", None, {}, {}), [row]).convert(*reversed(row))
            as_row(record, "openai")
        except DataError as error:
            outcomes.add(error.id)
        else:
            outcomes.add("record")
    assert "data.too-deep" in outcomes
    assert outcomes <= {"data.too-deep", "data.tool-schema", "data.bad-weight", "data.cannot-hold", "record"}


def test_a_line_of_ten_megabytes_is_a_row(desk) -> None:
    long = {"instruction": "hello", "output": "word " * 2_000_000}
    content = lines([VALID["alpaca"], long, VALID["alpaca"]])
    assert len(content) > 10_000_000
    begun = time.monotonic()
    store = desk.store(content, on_too_long="drop", cutoff_len=100)
    assert [store.origin(at).row for at in range(len(store))] == [1, 3]
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-32", "shift_jis", "latin-1"])
def test_other_encodings_are_named_and_never_guessed(encoding: str, desk) -> None:
    word = "café" if encoding == "latin-1" else "問題"
    text = "".join(json.dumps({"instruction": word, "output": word}, ensure_ascii=False) + "\n" for _ in range(3))
    error = desk.error(text.encode(encoding), on_bad_row="skip")
    assert error.id in ("data.utf16", "data.no-rows-left", "data.not-json", "data.not-utf8", "data.nul")
    said(error)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(begin: bytes, end: bytes, desk) -> None:
    rows = [VALID["openai"], VALID["openai"]]
    content = begin + b"".join(json.dumps(row).encode() + end for row in rows)
    plain = desk.texts(desk.store(lines(rows)))
    assert desk.texts(desk.store(content)) == plain
