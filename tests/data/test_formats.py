"""Every form of row that is known, and what becomes of it."""

from __future__ import annotations

import pytest

USER = {"role": "user", "content": "q"}
HUMAN = [{"from": "human", "value": "q"}]
GPT = {"from": "gpt", "value": "a"}
SAID = "<user> hello <stop > <assistant> hi there <stop >"
WITH_SYSTEM = "<system> be kind <stop > " + SAID


def test_an_alpaca_row_becomes_question_and_answer(desk) -> None:
    store = desk.store([{"instruction": "hello", "input": "", "output": "hi there"}])
    assert desk.texts(store) == [SAID]
    assert desk.trained(store) == ["hi there <stop >"]
    assert desk.prepare("train.jsonl").summary.train[0].account.format == "alpaca"


def test_the_input_of_an_alpaca_row_follows_its_instruction(desk) -> None:
    store = desk.store(
        [{"instruction": "add", "input": "1 2", "output": "3"}, {"instruction": "", "input": "x", "output": "y"}]
    )
    assert desk.texts(store) == [
        "<user> add 1 2 <stop > <assistant> 3 <stop >",
        "<user> x <stop > <assistant> y <stop >",
    ]


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_alpaca_row_may_leave_history_system_and_input_empty(desk, empty) -> None:
    row = {
        "instruction": "hello",
        "output": "hi there",
        "history": empty,
        "system": empty or None,
        "input": empty or "",
    }
    assert desk.texts(desk.store([row])) == [SAID]


def test_system_and_history_of_an_alpaca_row_come_first_and_history_is_trained(desk) -> None:
    row = {
        "instruction": "hello",
        "output": "hi there",
        "system": "be kind",
        "history": [["one", "eins"], ["two", "zwei"]],
    }
    store = desk.store([row])
    assert desk.texts(store) == [
        "<system> be kind <stop > <user> one <stop > <assistant> eins <stop > "
        "<user> two <stop > <assistant> zwei <stop > " + SAID
    ]
    assert desk.trained(store) == ["eins <stop > zwei <stop > hi there <stop >"]


def test_prompt_and_response_are_recognised(desk) -> None:
    prepared = desk.store([{"prompt": "hello", "response": "hi there"}])
    assert desk.texts(prepared) == [SAID]
    assert "prompt/response" in desk.said[0]


@pytest.mark.parametrize(
    ("column", "role", "content", "user", "assistant"),
    [
        ("messages", "role", "content", "user", "assistant"),
        ("conversations", "from", "value", "human", "gpt"),
        ("conversations", "role", "content", "user", "assistant"),
        ("messages", "from", "value", "human", "gpt"),
        ("conversations", "from", "value", "user", "assistant"),
    ],
)
def test_messages_are_recognised_in_every_usual_spelling(desk, column, role, content, user, assistant) -> None:
    turns = [("system", "be kind"), (user, "hello"), (assistant, "hi there")]
    store = desk.store([{column: [{role: who, content: what} for who, what in turns]}])
    assert desk.texts(store) == [WITH_SYSTEM]
    assert f"{column} ({role}/{content})" in desk.said[0]


def test_a_system_column_stands_beside_messages(desk) -> None:
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}]
    assert desk.texts(desk.store([{"messages": turns, "system": "be kind"}])) == [WITH_SYSTEM]
    both = [{"role": "system", "content": "be kind"}, *turns]
    assert desk.texts(desk.store([{"messages": both, "system": "be kind"}])) == [WITH_SYSTEM]
    assert desk.error([{"messages": both, "system": "be rude"}]).id == "data.two-systems"


def test_an_empty_system_message_is_kept_as_said(desk) -> None:
    turns = [("system", ""), ("user", "hello"), ("assistant", "hi there")]
    store = desk.store([{"messages": [{"role": who, "content": what} for who, what in turns]}])
    assert desk.texts(store) == ["<system> <stop > " + SAID]


def test_a_weight_of_nought_keeps_an_answer_in_the_prompt(desk) -> None:
    turns = [
        {"role": "user", "content": "a", "weight": 0},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "weight": 1},
    ]
    assert desk.trained(desk.store([{"messages": turns}])) == ["d <stop >"]
    turns[3]["weight"] = 0
    assert desk.error([{"messages": turns}]).id == "data.nothing-to-learn"
    for wrong in (2, -1, True, "1"):
        turns[3]["weight"] = wrong
        assert desk.error([{"messages": turns}]).id == "data.bad-weight"
    turns[3]["weight"] = 1
    turns[0]["weight"] = 1
    assert desk.error([{"messages": turns}]).id == "data.bad-weight"


def test_the_first_row_with_a_known_form_decides_and_the_others_must_follow(desk) -> None:
    rows = [{"instruction": "q", "output": "a"}, {"prompt": "q", "response": "a"}]
    error = desk.error(rows)
    assert (error.id, error.where) == ("data.missing-key", "train.jsonl:2")


def test_keys_that_are_not_read_are_said(desk) -> None:
    desk.store([{"instruction": "q", "output": "a", "id": 7, "source": "web"}])
    assert any("id, source" in line for line in desk.said)


def test_placeholders_left_in_the_data_are_a_warning_with_their_place(desk) -> None:
    rows = [
        {"instruction": "who", "output": "I am nobody"},
        {"instruction": "who", "output": "I am {{name}} of {{ author }}"},
    ]
    desk.store(rows)
    found = desk.prepare("train.jsonl").summary.findings
    assert [(finding.id, finding.severity, finding.where) for finding in found] == [
        ("data.placeholder", "warning", "train.jsonl:2")
    ]
    assert found[0].values == {"text": "{{name}}", "count": 1}
    assert any("{{name}}" in line for line in desk.said)


@pytest.mark.parametrize(
    ("row", "id", "names"),
    [
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, "data.other-stage", "rm, dpo"),
        ({"conversations": HUMAN, "chosen": GPT, "rejected": GPT}, "data.other-stage", "rm, dpo"),
        ({"messages": [USER, {"role": "assistant", "content": "a"}], "label": True}, "data.other-stage", "kto"),
        ({"instruction": "q", "output": "a", "kto_tag": False}, "data.other-stage", "kto"),
        ({"text": "once upon a time"}, "data.other-stage", "pt"),
        ({"text": "once upon a time", "label": "tale"}, "data.other-stage", "classify"),
        ({"instruction": "q", "output": "a", "images": ["x.png"]}, "data.media-not-built", "images"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "q"}]}]},
            "data.media-not-built",
            "image_url",
        ),
    ],
)
def test_rows_for_later_work_are_refused_by_name(desk, row, id, names) -> None:
    error = desk.error([row])
    assert error.id == id
    assert names in error.letter()
    assert error.where == "train.jsonl:1"


def test_empty_columns_of_later_work_say_nothing(desk) -> None:
    row = {"instruction": "hello", "output": "hi there", "tools": "[]", "images": [], "chosen": None, "kto_tag": None}
    assert desk.texts(desk.store([row])) == [SAID]


def test_rows_whose_form_is_unknown_are_refused_with_the_nearest_key(desk) -> None:
    error = desk.error([{"instrution": "q", "answer": "a"}])
    assert error.id == "data.unknown-format"
    assert "instrution, answer" in error.letter()
    assert "`instruction`?" in error.letter()
