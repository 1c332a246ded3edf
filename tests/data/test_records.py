"""Rows of every format become the record that they mean, without a registry and with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_factory.data.formats import Converter, choose, expect
from llama_factory.data.registry import Entry
from llama_factory.errors import DataError
from llama_factory.records import Classified, Conversation, Labelled, Message, Origin, Preference, Text, ToolCall

HERE = Origin("rows.jsonl", 1)
USER, BOT = Message("user", "q"), Message("assistant", "a")
ASK, SAY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
WEATHER = {
    "name": "weather",
    "description": "Today's weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOL = {"type": "function", "function": WEATHER}
CALL = {"name": "weather", "arguments": {"city": "Rome"}}


def converter(*rows: dict[str, Any], **said: Any) -> Converter:
    entry = Entry("rows", Path("rows.jsonl"), "rows.jsonl", said.get("formatting"), said.get("columns", {}),
                  said.get("tags", {}))  # fmt: skip
    return choose(entry, [(Origin("rows.jsonl", at), row) for at, row in enumerate(rows, 1)])


def record(row: dict[str, Any], **said: Any) -> Any:
    return converter(row, **said).convert(row, HERE)


def refused(row: dict[str, Any], **said: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        record(row, **said)
    assert caught.value.where == "rows.jsonl:1"
    assert len(caught.value.letter("en")) < 700
    assert caught.value.letter("zh")
    return caught.value


def talk(*messages: Message, tools: tuple[Any, ...] = ()) -> Conversation:
    return Conversation(messages, HERE, tools)


PAIR = Preference((USER,), BOT, Message("assistant", "b"), HERE)
WORSE = {"role": "assistant", "content": "b"}

ROWS: list[tuple[dict[str, Any], Any]] = [
    ({"instruction": "q", "chosen": "a", "rejected": "b"}, PAIR),
    ({"instruction": "q", "input": "", "output": "", "chosen": "a", "rejected": "b"}, PAIR),
    ({"instruction": "q", "output": ["a", "b"]}, PAIR),
    ({"instruction": "q", "output": "a", "kto_tag": False}, Labelled(talk(USER, BOT), desirable=False)),
    ({"instruction": "q", "output": "a", "kto_tag": True}, Labelled(talk(USER, BOT), desirable=True)),
    ({"instruction": "q", "output": "a", "tools": [WEATHER]}, talk(USER, BOT, tools=(TOOL,))),
    ({"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "b"}}, PAIR),
    ({"conversations": [HUMAN], "chosen": "a", "rejected": "b"}, PAIR),
    ({"conversations": [HUMAN, GPT], "kto_tag": True}, Labelled(talk(USER, BOT), desirable=True)),
    ({"messages": [ASK, SAY], "label": False}, Labelled(talk(USER, BOT), desirable=False)),
    ({"messages": [ASK, SAY], "label": "good"}, talk(USER, BOT)),
    ({"messages": [ASK], "chosen": [SAY], "rejected": [WORSE]}, PAIR),
    ({"input": {"messages": [ASK], "tools": [], "parallel_tool_calls": True}, "preferred_output": [SAY],
      "non_preferred_output": [WORSE]}, PAIR),
    ({"prompt": "q", "completion": "a"}, talk(USER, BOT)),
    ({"prompt": [ASK], "completion": [SAY]}, talk(USER, BOT)),
    ({"prompt": "q", "completion": "a", "label": True}, Labelled(talk(USER, BOT), desirable=True)),
    ({"prompt": [ASK], "completion": [SAY], "label": False}, Labelled(talk(USER, BOT), desirable=False)),
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, PAIR),
    ({"prompt": [ASK], "chosen": [SAY], "rejected": [WORSE]}, PAIR),
    ({"prompt": "q", "chosen": [ASK, SAY], "rejected": [ASK, WORSE]}, PAIR),
    ({"chosen": [ASK, SAY], "rejected": [ASK, WORSE]}, PAIR),
    ({"chosen": [ASK, SAY], "rejected": [ASK, SAY]}, Preference((USER,), BOT, BOT, HERE)),
    ({"prompt": "q", "response": "a"}, talk(USER, BOT)),
    ({"question": "q", "answer": "a"}, talk(USER, BOT)),
    ({"text": "once"}, Text("once", HERE)),
    ({"text": "once", "label": "tale"}, Classified("once", "tale", HERE)),
    ({"text": "once", "label": "null"}, Classified("once", "null", HERE)),
    ({"instruction": "q", "chosen": "[]", "rejected": "null"},
     Preference((USER,), Message("assistant", "[]"), Message("assistant", "null"), HERE)),
    ({"text": "once", "label": 0}, Classified("once", "0", HERE)),
    ({"instruction": "q", "output": "a", "text": "the whole of it"}, talk(USER, BOT)),
    ({"messages": [{"role": "developer", "content": "s"}, ASK, SAY]}, talk(Message("system", "s"), USER, BOT)),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, SAY]}, talk(USER, BOT)),
    ({"messages": [ASK, {**SAY, "reasoning_content": "r"}]}, talk(USER, Message("assistant", "a", reasoning="r"))),
    ({"messages": [ASK, {**SAY, "thinking": ""}]}, talk(USER, Message("assistant", "a", reasoning=""))),
    ({"messages": [ASK, {**SAY, "reasoning": None}]}, talk(USER, BOT)),
    ({"messages": [ASK, {**SAY, "train": False}]}, talk(USER, Message("assistant", "a", weight=0.0))),
    ({"messages": [ASK, {**SAY, "train": True, "weight": 0.5}]}, talk(USER, Message("assistant", "a", weight=0.5))),
    ({"messages": [{**ASK, "train": False}, SAY]}, talk(USER, BOT)),
    ({"messages": [ASK, {"role": "assistant", "content": [{"type": "reasoning", "value": "r"},
                                                          {"type": "text", "value": "a"}]}]},
     talk(USER, Message("assistant", "a", reasoning="r"))),
    ({"messages": [ASK, {"role": "assistant", "content": "<think>\nso\n</think>\n\na"}]},
     talk(USER, Message("assistant", "<think>\nso\n</think>\n\na"))),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_a_row_becomes_the_record_that_it_means(row, expected) -> None:
    assert record(row) == expected


def calls(*pairs: tuple[str, dict[str, Any]], ids: str = "") -> tuple[ToolCall, ...]:
    return tuple(ToolCall(name, arguments, ids[at : at + 1]) for at, (name, arguments) in enumerate(pairs))


ROME, OSLO = ("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})


def test_function_calls_of_sharegpt_become_calls_of_the_assistant() -> None:
    turns = [HUMAN, {"from": "function_call", "value": json.dumps(CALL)}, {"from": "observation", "value": "sun"}, GPT]
    found = record({"conversations": turns, "tools": json.dumps([WEATHER])})
    called = Message("assistant", "", tool_calls=calls(ROME))
    assert found == talk(USER, called, Message("tool", "sun"), BOT, tools=(TOOL,))


@pytest.mark.parametrize(
    ("value", "content", "count"),
    [
        (json.dumps([CALL, CALL]), "", 2),
        (f"<think>\nso\n</think>\n\n{json.dumps(CALL)}", "<think>\nso\n</think>", 1),
        (f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>\n<tool_call>{json.dumps(CALL)}</tool_call>", "", 2),
        (json.dumps({"name": "weather", "arguments": json.dumps({"city": "Rome"})}), "", 1),
    ],
)
def test_a_function_call_may_hold_several_calls_and_thoughts(value, content, count) -> None:
    found = record({"conversations": [HUMAN, {"from": "function_call", "value": value}]})
    assert found == talk(USER, Message("assistant", content, tool_calls=calls(*[ROME] * count)))


def openai_call(pair: tuple[str, dict[str, Any]], id: str, *, as_text: bool = True) -> dict[str, Any]:
    arguments = json.dumps(pair[1]) if as_text else pair[1]
    return {"id": id, "type": "function", "function": {"name": pair[0], "arguments": arguments}}


def tool_rows(*results: str, **first: Any) -> dict[str, Any]:
    """Two parallel calls with the ids A and B, and results with the given ids."""
    asked = {"role": "assistant", "content": None, "tool_calls": [openai_call(ROME, "A"), openai_call(OSLO, "B")]}
    answers = [{"role": "tool", "tool_call_id": id, "content": f"sun {id}"} for id in results]
    return {"messages": [ASK, {**asked, **first}, *answers, SAY], "tools": [TOOL]}


def test_parallel_calls_of_openai_are_one_message_and_their_results_follow() -> None:
    found = record(tool_rows("A", "B"))
    asked = Message("assistant", "", tool_calls=calls(ROME, OSLO, ids="AB"))
    results = [Message("tool", f"sun {id}", tool_call_id=id) for id in "AB"]
    assert found == talk(USER, asked, *results, BOT, tools=(TOOL,))
    assert record(tool_rows("B", "A", content="Let me look.")).messages[1].content == "Let me look."


def test_calls_as_objects_as_parts_and_in_the_older_spelling_are_the_same() -> None:
    expected = talk(USER, Message("assistant", "", tool_calls=calls(ROME)))
    plain = {"role": "assistant", "tool_calls": [openai_call(ROME, "", as_text=False)]}
    assert record({"messages": [ASK, plain]}) == expected
    parts = {"role": "assistant", "content": [{"type": "tool_call", "value": json.dumps(CALL)}]}
    assert record({"messages": [ASK, parts]}) == expected
    old = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    assert record({"messages": [ASK, old]}) == expected
    answered = [ASK, old, {"role": "function", "name": "weather", "content": "sun"}, SAY]
    assert record({"messages": answered}).messages[2] == Message("tool", "sun", name="weather")


def arguments(given: Any, **schema: Any) -> dict[str, Any]:
    tool = {**WEATHER, "parameters": {**WEATHER["parameters"], **schema}}  # type: ignore[dict-item]
    return {"messages": [ASK, {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": given}]}],
            "tools": [tool]}  # fmt: skip


BAD: list[tuple[dict[str, Any], str, str]] = [
    (arguments({"city": 7}), "data.argument-wrong", '`city`: expected type: "string", found number 7'),
    (arguments({"city": "Rome", "unit": "K"}), "data.argument-wrong", 'enum: ["C", "F"], found string "K"'),
    (arguments({"city": "Rome", "days": 1.5}), "data.argument-wrong", "`days`"),
    (arguments({"days": 1}), "data.argument-missing", "`city`"),
    (arguments({"city": "Rome", "dayz": 1}), "data.argument-unknown", "`dayz` (`days`?)"),
    (arguments("[1]"), "data.call-shape", "arguments: array"),
    (arguments("{"), "data.bad-json", "tool_calls: arguments"),
    (arguments({"city": "Rome"}, type=7), "data.tool-schema", "7 is not valid"),
    (arguments({"city": "Rome"}, properties={"city": {"$ref": "http://localhost/x"}}), "data.tool-schema", "weather"),
    (arguments({"city": "Rome"}, allOf=[{"$ref": "#"}]), "data.tool-schema", "weather"),
    ({"messages": [ASK, {"role": "assistant", "tool_calls": [{"name": "wether", "arguments": {}}]}], "tools": [TOOL]},
     "data.unknown-tool", "`wether` (`weather`?)"),
    ({"messages": [ASK, {"role": "assistant", "tool_calls": [{"name": "f"}]}]}, "data.call-shape", "name"),
    ({"messages": [ASK, SAY], "tools": "not json"}, "data.bad-json", "`tools`"),
    ({"messages": [ASK, SAY], "tools": [{"description": "nameless"}]}, "data.tool-shape", "tool 1"),
    ({"messages": [ASK, SAY], "tools": [WEATHER, TOOL]}, "data.tool-twice", "weather"),
    ({"messages": [ASK, {"role": "tool", "content": "sun"}, SAY]}, "data.result-without-call", "message 2"),
    ({"messages": [ASK, SAY, {"role": "tool", "content": "sun"}, SAY]}, "data.result-without-call", "message 3"),
    (tool_rows("A"), "data.call-unanswered", "found B"),
    (tool_rows("A", "C"), "data.unknown-call-id", "`C`; open are: B"),
    (tool_rows("A", "A"), "data.unknown-call-id", "`A`"),
    (tool_rows(), "data.call-unanswered", "found assistant"),
    ({"messages": [ASK, SAY, SAY]}, "data.two-in-a-row", "assistant"),
    ({"messages": [{**ASK, "tool_calls": [CALL]}, SAY]}, "data.only-assistant", "tool_calls"),
    ({"messages": [{**ASK, "reasoning": "r"}, SAY]}, "data.only-assistant", "reasoning"),
    ({"messages": [ASK, {**SAY, "reasoning": "r", "thinking": "s"}]}, "data.two-reasonings", "reasoning, thinking"),
    ({"messages": [ASK, {**SAY, "train": False, "weight": 1}]}, "data.train-and-weight", "weight: 1"),
    ({"messages": [ASK, {**SAY, "train": "no"}]}, "data.wrong-type", "`train`"),
    ({"messages": [{**ASK, "train": True}, SAY]}, "data.bad-weight", "user"),
    ({"messages": [ASK, {"role": "assistant", "content": [{"type": "dance"}]}]}, "data.part-unknown", "dance"),
    ({"messages": [ASK, {"role": "assistant", "content": [{"type": "text", "text": "a"},
                                                          {"type": "reasoning", "text": "r"}]}]},
     "data.part-order", "reasoning"),
    ({"messages": [ASK, {"role": "assistant", "content": [{"type": "input_audio"}]}]}, "data.media-not-built", "audio"),
    ({"messages": [ASK, SAY], "chosen": "a", "rejected": "b"}, "data.prompt-ends", "`chosen`"),
    ({"messages": [ASK], "chosen": [SAY, ASK, SAY], "rejected": "b"}, "data.answer-several", "3 messages"),
    ({"prompt": "q", "chosen": [{"role": "user", "content": "other"}, SAY], "rejected": "b"},
     "data.prompt-differs", "`chosen`"),
    ({"conversations": [HUMAN], "chosen": GPT}, "data.missing-key", "`rejected`"),
    ({"conversations": [HUMAN], "chosen": HUMAN, "rejected": GPT}, "data.answer-role", "user"),
    ({"prompt": "q", "chosen": "a", "rejected": ""}, "data.missing-key", "`rejected`"),
    ({"chosen": "Human: q Assistant: a", "rejected": "Human: q Assistant: b"}, "data.no-prompt", "string"),
    ({"instruction": "q", "output": ["a", "b", "c"]}, "data.pair-shape", "3"),
    ({"instruction": "q", "output": "a", "kto_tag": "true"}, "data.wrong-type", "found string"),
    ({"text": "once", "label": 1.5}, "data.wrong-type", "`label`"),
    ({"text": " \n"}, "data.empty-text", "`text`"),
    ({"messages": [ASK, SAY], "instruction": "q", "output": "a"}, "data.ambiguous-format",
     "messages; instruction + output"),
    ({"messages": [ASK, SAY], "conversations": [HUMAN, GPT]}, "data.ambiguous-format", "messages; conversations"),
    ({"instruction": "q", "output": "a", "chosen": "a", "rejected": "b"}, "data.ambiguous-format", "chosen"),
    ({"turns": [{"role": "human", "content": "q"}, {"role": "assistant", "content": "a", "requires_reasoning": True}]},
     "data.thinking-missing", "message 2"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "id", "says"), BAD, ids=[f"{at}-{id}" for at, (_, id, _) in enumerate(BAD)])
def test_a_row_that_cannot_be_meant_is_refused_with_what_is_wrong(row, id, says) -> None:
    error = refused(row)
    assert error.id == id
    assert says in error.letter()


@pytest.mark.parametrize("kind", ["str", "Dict", "float", "any"])
def test_names_of_types_from_python_are_read_as_those_of_a_schema(kind: str) -> None:
    good = {"str": "x", "Dict": {}, "float": 1.5, "any": None}[kind]
    row = arguments({"city": good}, type="dict", properties={"city": {"type": kind, "required": True}})
    assert isinstance(record(row), Conversation)
    if kind != "any":
        bad = arguments({"city": [good]}, type="dict", properties={"city": {"type": kind}})
        assert refused(bad).id == "data.argument-wrong"


def test_a_pattern_that_takes_for_ever_is_not_tried() -> None:
    row = arguments({"city": "a" * 5000 + "!"}, properties={"city": {"type": "string", "pattern": "^(a+)+$"}})
    assert isinstance(record(row), Conversation)


def test_the_raw_turns_of_the_tutorial_become_thoughts_and_answers() -> None:
    fast = {"role": "assistant", "content": "a", "requires_reasoning": False, "thinking": "unused"}
    slow = {"role": "assistant", "content": "b", "requires_reasoning": True, "thinking": "t"}
    human = {"role": "human", "content": "q"}
    row = {"turns": [human, fast, human, slow]}
    assert record(row) == talk(
        Message("system", "你是一个有帮助的AI助手"), USER,
        Message("assistant", "<think>\n\n</think>\n<answer>\na\n</answer>"), USER,
        Message("assistant", "<think>\nt\n</think>\n<answer>\nb\n</answer>"),
    )  # fmt: skip
    assert "<think>" in converter(row).said
    assert record({**row, "system": "s"}).messages[0] == Message("system", "s")


def test_the_registry_names_columns_and_tags_of_every_kind() -> None:
    row = {"q": "q", "good": "a", "bad": "b", "note": "s"}
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad", "system": "note"}
    assert record(row, columns=columns) == Preference(
        (Message("system", "s"), USER), BOT, Message("assistant", "b"), HERE
    )
    assert record({"text": "once"}, columns={"prompt": "text"}) == Text("once", HERE)
    assert record({"q": "q", "output": "a"}, columns={"prompt": "q"}) == talk(USER, BOT)
    judged = {"instruction": "q", "output": "a", "good": True}
    assert record(judged, columns={"kto_tag": "good"}) == Labelled(talk(USER, BOT), desirable=True)
    assert record({**judged, "kto_tag": True}, columns={"kto_tag": None}) == talk(USER, BOT)
    tags = {"role_tag": "who", "content_tag": "what", "user_tag": "U", "assistant_tag": "A", "observation_tag": "O",
            "function_tag": "F", "system_tag": "S"}  # fmt: skip
    said = [("S", "s"), ("U", "q"), ("F", json.dumps(CALL)), ("O", "sun"), ("A", "a")]
    found = record({"dialog": [{"who": who, "what": what} for who, what in said]},
                   columns={"messages": "dialog"}, tags=tags)  # fmt: skip
    assert [message.role for message in found.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert found.messages[2].tool_calls == calls(ROME)


def test_the_registry_decides_between_one_answer_and_two_to_compare() -> None:
    both = {"instruction": "q", "output": "c", "chosen": "a", "rejected": "b"}
    assert record(both, columns={"chosen": "chosen", "rejected": "rejected"}) == PAIR
    assert record(both, columns={"chosen": None, "rejected": None}) == talk(USER, Message("assistant", "c"))
    assert record(both, formatting="alpaca", columns={"chosen": "chosen", "rejected": "rejected"}) == PAIR
    turns = {"messages": [ASK, SAY], "prompt": "q", "chosen": [ASK, SAY], "rejected": [ASK, WORSE]}
    assert refused(turns).id == "data.ambiguous-format"
    assert record(turns, columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}) == PAIR
    assert record(turns, columns={"messages": "messages", "chosen": None, "rejected": None}) == talk(USER, BOT)
    other = {"instruction": "q", "good": "a", "bad": "b"}
    assert record(other, columns={"chosen": "good", "rejected": "bad"}) == PAIR
    assert record({"text": "once", "label": "tale"}, columns={"prompt": "text"}) == Text("once", HERE)
    assert record({"text": "once", "output": "x"}, columns={"prompt": "text", "response": None}) == Text("once", HERE)


def test_a_developer_is_the_system_and_that_is_said() -> None:
    row = {"messages": [{"role": "developer", "content": "s"}, ASK, SAY]}
    assert converter(row).said == "messages (role/content, developer = system)"
    assert converter({"messages": [ASK, SAY]}).said == "messages (role/content)"


def test_openai_preferences_are_found_under_a_registered_formatting_too() -> None:
    row = {"input": {"messages": [ASK]}, "preferred_output": [SAY], "non_preferred_output": [WORSE]}
    assert record(row, formatting="openai") == PAIR


STAGES = {
    "sft": talk(USER, BOT), "pt": Text("once", HERE), "dpo": PAIR, "rm": PAIR, "orpo": PAIR, "simpo": PAIR,
    "kto": Labelled(talk(USER, BOT), desirable=True), "classify": Classified("once", "tale", HERE),
}  # fmt: skip


def test_each_stage_takes_its_own_kind_of_record_and_no_other() -> None:
    tried = 0
    for stage, own in STAGES.items():
        expect(own, stage)
        for other in STAGES.values():
            if type(other) is not type(own):
                tried += 1
                with pytest.raises(DataError) as caught:
                    expect(other, stage)
                assert caught.value.id == "data.other-stage"
                assert stage in caught.value.letter("en")
                assert stage in caught.value.letter("zh")
    assert tried == 8 * 7 - 4 * 3


REAL = {
    "alpaca_en_demo.json": (Conversation, 999, 0),
    "alpaca_zh_demo.json": (Conversation, 1000, 0),
    "identity.json": (Conversation, 91, 0),
    "gsm8k_test.jsonl": (Conversation, 1319, 0),
    "c4_demo.jsonl": (Text, 300, 0),
    "dpo_en_demo.json": (Preference, 299, 0),
    "kto_en_demo.json": (Labelled, 300, 0),
    "glaive_toolcall_en_demo.json": (Conversation, 299, 1),
    "reason_tool_use_demo_50.jsonl": (Conversation, 50, 0),
}
"""Records of each kind, and bad rows: one call in glaive's gives a list where its schema says a number."""


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_recognised_and_read_whole(name: str, shared_data: Path) -> None:
    from llama_factory.data.reading import read_rows

    kind, good, bad = REAL[name]
    rows = [row for row in read_rows(shared_data / name, name) if not isinstance(row, DataError)]
    chosen = converter(*(row for _, row in rows[:20]))
    found, errors = [], []
    for origin, row in rows:
        try:
            found.append(chosen.convert(row, origin))
        except DataError as error:
            errors.append(error)
    assert {type(one) for one in found} == {kind}
    assert (len(found), len(errors)) == (good, bad)
    assert all(error.id == "data.argument-wrong" for error in errors)


def test_real_calls_and_thoughts_arrive_whole(shared_data: Path) -> None:
    text = (shared_data / "reason_tool_use_demo_50.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    messages = [message for row in rows for message in record(row).messages]
    assert sum(message.reasoning is not None for message in messages) == 59 + 41 + 9 + 3
    assert sum(len(message.tool_calls) for message in messages) == 41 + 2 * 9 + 3 * 3
    assert sum(message.role == "tool" for message in messages) == 42
