"""What is wrong with a row or a file: a short letter each, with its place."""

from __future__ import annotations

import json

import pytest

from llama_factory.errors import DataError, SeveralErrors

GOOD = {"instruction": "q", "output": "a"}
LINE = json.dumps(GOOD).encode() + b"\n"


def turns(*said: tuple[str, object]) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in said]}


ROWS = [
    (turns(("user", "q")), "data.ends-with-user", "user"),
    (turns(("user", "q"), ("assistant", "a"), ("user", "r")), "data.ends-with-user", "user"),
    (turns(("user", "q"), ("assistant", "")), "data.empty-answer", "assistant"),
    (turns(("user", "q"), ("assistant", " \n ")), "data.empty-answer", "assistant"),
    (turns(("user", ""), ("assistant", "a")), "data.empty-turn", "user"),
    (turns(("user", "q"), ("asistant", "a")), "data.unknown-role", "(`assistant`?)"),
    (turns(("user", "q"), (3, "a")), "data.unknown-role", "number"),
    (turns(("user", "q"), ("assistant", "a"), ("system", "s")), "data.system-not-first", "3"),
    (turns(("system", "s")), "data.no-turns", "system"),
    (turns(("user", "q"), ("user", "q"), ("assistant", "a")), "data.two-in-a-row", "user"),
    (turns(("user", "q"), ("assistant", "a"), ("assistant", "a")), "data.two-in-a-row", "assistant"),
    (turns(("assistant", "a"), ("user", "q"), ("assistant", "a")), "data.starts-with-assistant", "assistant"),
    (turns(("user", "q"), ("assistant", None)), "data.wrong-type", "found null"),
    (turns(("user", 7), ("assistant", "a")), "data.wrong-type", "found number"),
    ({"messages": []}, "data.no-messages", "messages"),
    ({"messages": "q"}, "data.wrong-type", "array"),
    ({"messages": ["q"]}, "data.wrong-type", "message 1"),
    ({"messages": [{"content": "q"}]}, "data.missing-key", "`role`"),
    ({"messages": [{"role": "user", "contents": "q"}]}, "data.missing-key", "(`contents`?)"),
    ({"instruction": "q", "output": ""}, "data.empty-answer", "assistant"),
    ({"instruction": "", "input": "", "output": "a"}, "data.empty-turn", "user"),
    ({"instruction": "q", "output": 42}, "data.wrong-type", "`output`"),
    ({"instruction": "q", "output": None}, "data.wrong-type", "null"),
    ({"instruction": "q", "output": "a", "input": 1}, "data.wrong-type", "`input`"),
    ({"instruction": "q", "output": "a", "history": "h"}, "data.wrong-type", "`history`"),
    ({"instruction": "q", "output": "a", "history": [["h"]]}, "data.history-shape", "entry 1"),
    ({"instruction": "q", "output": "a", "history": [["h", ""]]}, "data.empty-answer", "assistant"),
]


def first_of_its_kind(row: dict[str, object]) -> dict[str, object]:
    return GOOD if "instruction" in row else turns(("user", "q"), ("assistant", "a"))


@pytest.mark.parametrize(("row", "id", "says"), ROWS)
@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
def test_a_bad_row_is_named_with_its_place(desk, row, id, says, name) -> None:
    error = desk.error([first_of_its_kind(row), row], name)
    assert isinstance(error, DataError)
    assert (error.id, error.where) == (id, f"{name}:2")
    assert says in error.letter()
    assert len(error.letter()) < 500


def test_a_missing_key_is_named_with_the_keys_there_are(desk) -> None:
    error = desk.error([GOOD, {"instruction": "q", "outputs": "a"}])
    assert error.id == "data.missing-key"
    assert "`output` (`outputs`?), found: instruction, outputs" in error.letter()


SYNTAX = [
    (b'{"instruction": "q", "output": }', "data.broken-line"),
    (b'{"instruction": "q", "output": "a"', "data.broken-line"),
    (b'{"instruction": "q", "output": "a"} {"x": 1}', "data.broken-line"),
    (b'{"instruction": "q", "output": "a",}', "data.broken-line"),
    (b'{"instruction": "q", "output": ' + b"9" * 5000 + b"}", "data.broken-line"),
    (b'"text"', "data.not-an-object"),
    (b"[1]", "data.not-an-object"),
    (b"null", "data.not-an-object"),
    (b'{"instruction": "q", "output": "a", "output": "b"}', "data.duplicate-key"),
    (b'{"instruction": "q", "output": "a", "x": {"y": 1, "y": 2}}', "data.duplicate-key"),
    (b'{"instruction": "q", "output": "a", "x": NaN}', "data.not-a-number"),
    (b'{"instruction": "q", "output": "a", "x": -Infinity}', "data.not-a-number"),
    (b'{"instruction": "q", "output": "a", "x": 1e999}', "data.not-a-number"),
    (b'{"instruction": "q", "output": "\\ud83d"}', "data.half-surrogate"),
    (b'{"instruction": "q", "output": "a", "\\uDE00": 1}', "data.half-surrogate"),
    (b'{"instruction": "q", "output": "a\\u0000b"}', "data.nul-escape"),
    (b'{"instruction": "q", "output": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "data.too-deep"),
    (b'{"instruction": "q", "output": "a", "x": ' + b'{"y":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "data.too-deep"),
    (b'{"instruction": "q", "output": "caf\xe9"}', "data.not-utf8"),
    (b'{"instruction": "q", "output": "a\0b"}', "data.nul"),
]


@pytest.mark.parametrize(("line", "id"), SYNTAX, ids=[f"{id}-{at}" for at, (_, id) in enumerate(SYNTAX)])
def test_a_broken_line_is_named_and_can_be_skipped(desk, line, id) -> None:
    content = LINE + line + b"\n" + LINE
    error = desk.error(content)
    assert (error.id, error.where) == (id, "train.jsonl:2")
    store = desk.store(content, on_bad_row="skip")
    assert [store.origin(at).row for at in range(len(store))] == [1, 3]


@pytest.mark.parametrize(("line", "id"), SYNTAX, ids=[f"{id}-{at}" for at, (_, id) in enumerate(SYNTAX)])
def test_a_broken_element_of_an_array_is_named(desk, line, id) -> None:
    content = b"[" + LINE.strip() + b",\n" + line + b",\n" + LINE.strip() + b"]"
    error = desk.error(content, "train.json")
    skippable = id not in ("data.broken-line", "data.too-deep", "data.not-utf8", "data.nul")
    if skippable:
        assert (error.id, error.where) == (id, "train.json:2")
        store = desk.store(content, "train.json", on_bad_row="skip")
        assert [store.origin(at).row for at in range(len(store))] == [1, 3]
    else:
        expected = {"data.broken-line": "data.broken-array", "data.too-deep": "data.too-deep-array"}.get(id, id)
        assert (error.id, error.where) == (expected, "train.json")
        assert error.values.get("line", 2) in (2, 3)
        assert desk.error(content, "train.json", on_bad_row="skip").id == expected


def test_the_byte_of_wrong_text_is_counted_from_the_start_of_the_file(desk) -> None:
    for lead in (b"", b"\xef\xbb\xbf"):
        content = lead + LINE + b'{"instruction": "caf\xe9", "output": "a"}\n'
        assert desk.error(content).values == {"offset": content.index(b"\xe9"), "byte": "0xe9"}
        content = lead + LINE + b'{"instruction": "q\0", "output": "a"}\n'
        assert desk.error(content).values["offset"] == content.index(b"\0")
        content = lead + b"[" + LINE + b', {"instruction": "\xe4\xb8\xad caf\xe9", "output": "a"}]'
        assert desk.error(content, "train.json").values["offset"] == content.index(b"\xe9")
        content = lead + b"[" + LINE + b', {"instruction": "q\0", "output": "a"}]'
        assert desk.error(content, "train.json").values["offset"] == content.index(b"\0")


FILES = [
    ("train.jsonl", b"", "data.empty-file"),
    ("train.jsonl", b"\xef\xbb\xbf \r\n\n", "data.empty-file"),
    ("train.json", b"[]", "data.no-rows"),
    ("train.json", b" [ \n ] \n", "data.no-rows"),
    ("train.json", b"[" + LINE, "data.broken-array"),
    ("train.json", b"[" + LINE + b",]", "data.broken-array"),
    ("train.json", b"[" + LINE + LINE + b"]", "data.broken-array"),
    ("train.json", b"[" + LINE + b"] x", "data.broken-array"),
    ("train.json", b"[", "data.broken-array"),
    ("train.json", b'[{"instruction": "q', "data.broken-array"),
    ("train.json", b'{"data": [{"instruction": "q", "output": "a"}]}', "data.one-object"),
    ("train.json", b'{\n "data": [\n  {"instruction": "q", "output": "a"}]}', "data.one-object"),
    ("train.jsonl", b"instruction,output\nq,a\n", "data.not-json"),
    ("train.jsonl", "问题".encode("utf-16"), "data.utf16"),
    ("train.jsonl", b"\x1f\x8b\x08\x00\x00", "data.not-json"),
    ("train.xls", b"instruction,output\nq,a\n", "data.file-type"),
    ("train.parquet", b"PAR1", "data.damaged-table"),
]


@pytest.mark.parametrize(("name", "content", "id"), FILES)
def test_a_file_that_cannot_be_used_is_refused(desk, name, content, id) -> None:
    error = desk.error(content, name)
    assert error.id == id
    assert name in error.where


def test_the_line_and_column_of_broken_json_are_exact(desk) -> None:
    content = '[\n  {"instruction": "q", "output": "a"},\n  {"instruction": "q" "output": "a"}\n]'
    error = desk.error(content, "train.json")
    assert (error.values["line"], error.values["column"]) == (3, 23)
    content = '{"instruction": "q", "output": "a"}\n{"instruction": "q" "output": "a"}\n'
    error = desk.error(content)
    assert (error.where, error.values["column"]) == ("train.jsonl:2", 21)


def test_bom_crlf_and_blank_lines_are_tolerated(desk) -> None:
    store = desk.store(b"\xef\xbb\xbf\r\n" + LINE.replace(b"\n", b"\r\n") + b"   \r\n\t\n" + LINE.strip())
    assert [str(store.origin(at)) for at in range(len(store))] == ["train.jsonl:2", "train.jsonl:5"]
    store = desk.store(b"\xef\xbb\xbf\r\n[" + LINE + b",\r\n" + LINE + b"]\r\n", "train.json")
    assert len(store) == 2


def test_the_content_decides_between_lines_and_array_whatever_the_suffix_says(desk) -> None:
    assert len(desk.store(LINE + LINE, "train.json")) == 2
    assert len(desk.store(b"[" + LINE + b"," + LINE + b"]", "train.jsonl")) == 2


def test_emoji_written_as_pairs_of_escapes_are_text(desk) -> None:
    store = desk.store(b'{"instruction": "q", "output": "\\ud83d\\ude00 \\\\u0000"}\n')
    assert desk.trained(store) == ["\U0001f600 \\u0000 <stop >"]


def test_several_bad_rows_are_named_at_once(desk) -> None:
    rows = [GOOD] + [{"instruction": "q", "output": ""}] * 3
    error = desk.error(rows)
    assert isinstance(error, SeveralErrors)
    assert [one.where for one in error.errors] == ["train.jsonl:2", "train.jsonl:3", "train.jsonl:4"]
    assert error.exit_code == 3
    error = desk.error([GOOD] + [{"instruction": "q", "output": ""}] * 30)
    assert isinstance(error, SeveralErrors)
    assert len(error.errors) <= 6


def test_skipped_rows_are_counted_and_the_first_are_listed(desk) -> None:
    rows = [GOOD, *[{"instruction": "q", "output": ""}] * 30, GOOD]
    desk.write("train.jsonl", rows)
    prepared = desk.prepare("train.jsonl", on_bad_row="skip")
    account = prepared.summary.train[0].account
    assert (account.read, account.kept, account.bad) == (32, 2, 30)
    assert [row.where for row in account.bad_rows] == [f"train.jsonl:{at}" for at in range(2, 12)]
    assert any("30 of 32" in line for line in desk.said)
    assert any("20 more" in line for line in desk.said)


def test_a_row_that_the_renderer_refuses_is_a_bad_row(desk) -> None:
    desk.renderer.refuses = "poison"
    rows = [GOOD, {"instruction": "q", "output": "poison"}, GOOD]
    desk.write("train.jsonl", rows)
    with pytest.raises(DataError) as caught:
        desk.prepare("train.jsonl")
    assert caught.value.where == "train.jsonl:2"
    assert len(desk.prepare("train.jsonl", on_bad_row="skip").train) == 2


def test_when_every_row_is_bad_nothing_is_trained_in_silence(desk) -> None:
    desk.write("train.jsonl", [{"instruction": "q", "output": ""}] * 30)
    with pytest.raises(DataError) as caught:
        desk.prepare("train.jsonl", on_bad_row="skip")
    assert caught.value.id == "data.no-rows-left"
    assert caught.value.values["bad"] == 30


def test_a_file_that_begins_with_bad_rows_is_still_recognised_when_they_are_skipped(desk) -> None:
    content = b"broken\n" * 50 + LINE
    assert desk.error(b"{\n" * 50 + LINE).id == "data.broken-line"
    store = desk.store(b"{\n" * 50 + LINE, on_bad_row="skip")
    assert [store.origin(at).row for at in range(len(store))] == [51]
    error = desk.error(b"{\n" * 50, on_bad_row="skip")
    assert (error.id, error.values["bad"]) == ("data.no-rows-left", 50)
    assert desk.error(content).id == "data.not-json"


@pytest.mark.parametrize(
    "row",
    [
        turns(("x" * 10**6, "q")),
        {"messages": [{"role": "\x1b[2J\n" * 1000, "content": "q"}]},
        {"x" * 10**6: 1, "instruction": "q"},
        {**{f"key{at}": 1 for at in range(5000)}, "instruction": "q"},
        turns(("user", "q"), ("assistant", [{"type": "\x1b" * 10**5}])),
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": "9" * 10**5}]},
    ],
)
def test_a_letter_stays_short_and_plain_whatever_the_row_says(desk, row) -> None:
    said = desk.error([first_of_its_kind(row), row]).letter()
    assert len(said) < 1200
    assert "\x1b" not in said


def test_a_dialogue_of_very_many_turns_is_refused_or_handled_in_time(desk) -> None:
    many = [{"role": role, "content": "w"} for _ in range(10_000) for role in ("user", "assistant")]
    rows = [turns(("user", "q"), ("assistant", "a")), {"messages": many}]
    assert len(desk.store(rows, on_too_long="split", cutoff_len=1000)) == 81
    assert len(desk.store(rows, on_too_long="truncate", cutoff_len=1000)) == 2
    error = desk.error([rows[0], {"messages": many * 2}])
    assert (error.id, error.values["count"]) == ("data.too-many-messages", 40_000)
