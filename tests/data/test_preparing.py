"""A whole run's data: several sets, heads, validation; what is said; what it costs to import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from llama_factory.config import from_mapping
from llama_factory.data import rows_per_step, token_budget
from llama_factory.data.preparing import split
from llama_factory.data.words import LINES
from llama_factory.errors import LlamaFactoryError


def firsts(desk, store) -> list[str]:
    return [text.split()[1] for text in desk.texts(store)]


def test_several_data_sets_are_put_end_to_end(desk, question) -> None:
    desk.write("a.jsonl", [question(1), question(2)])
    desk.write("b.json", [{"prompt": "q3", "response": "a3"}])
    desk.register(b={"file_name": "b.json"})
    prepared = desk.prepare("a.jsonl,b")
    assert firsts(desk, prepared.train) == ["q1", "q2", "q3"]
    assert [str(prepared.train.origin(at)).rsplit("/", 1)[-1] for at in range(3)] == [
        "a.jsonl:1",
        "a.jsonl:2",
        "b.json:1",
    ]
    assert [one.name for one in prepared.summary.train] == ["a.jsonl", "b"]
    assert prepared.validation is None


def test_max_samples_takes_the_head_of_each_data_set(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(5)])
    desk.write("b.jsonl", [question(at) for at in range(10, 12)])
    prepared = desk.prepare("a.jsonl,b.jsonl", max_samples=3)
    assert firsts(desk, prepared.train) == ["q0", "q1", "q2", "q10", "q11"]


def test_a_share_or_a_number_of_rows_is_kept_back_by_the_seed(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(40)])
    for val_size, expected in ((0.25, 10), (7, 7), (0.001, 1)):
        prepared = desk.prepare("a.jsonl", val_size=val_size)
        assert prepared.validation is not None
        train, judged = firsts(desk, prepared.train), firsts(desk, prepared.validation)
        assert len(judged) == expected
        assert sorted(train + judged) == sorted(f"q{at}" for at in range(40))
        assert not set(train) & set(judged)
        again = desk.prepare("a.jsonl", val_size=val_size).validation
        assert again is not None
        assert firsts(desk, again) == judged
    other = desk.prepare("a.jsonl", val_size=7, seed=43).validation
    assert other is not None
    same = desk.prepare("a.jsonl", val_size=7).validation
    assert same is not None
    assert firsts(desk, other) != firsts(desk, same)


def test_rows_split_from_one_record_stay_on_one_side(desk) -> None:
    talk = [
        {"role": role, "content": f"{word} {at}"}
        for at in range(4)
        for role, word in (("user", "q"), ("assistant", "a"))
    ]
    desk.write("a.jsonl", [{"messages": talk}] * 12)
    prepared = desk.prepare("a.jsonl", on_too_long="split", cutoff_len=25, val_size=4)
    assert prepared.validation is not None
    assert len(prepared.train) + len(prepared.validation) == 24
    sides = [{int(origin[1]) for origin in store.origins()} for store in (prepared.train, prepared.validation)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 4


@pytest.mark.parametrize("val_size", [3, 4, 100])
def test_a_validation_that_leaves_nothing_to_train_is_refused(desk, question, val_size) -> None:
    desk.write("a.jsonl", [question(at) for at in range(3)])
    with pytest.raises(LlamaFactoryError) as caught:
        desk.prepare("a.jsonl", val_size=val_size)
    assert (caught.value.id, caught.value.exit_code) == ("data.val-size", 2)


def test_a_data_set_of_its_own_can_be_the_validation(desk, question) -> None:
    desk.write("a.jsonl", [question(1)])
    desk.write("b.jsonl", [question(2), question(3)])
    prepared = desk.prepare("a.jsonl", eval_dataset="b.jsonl")
    assert prepared.validation is not None
    assert firsts(desk, prepared.train) == ["q1"]
    assert firsts(desk, prepared.validation) == ["q2", "q3"]
    assert "1 for training, 2 for validation" in desk.said[-1]


def test_no_data_set_and_one_named_twice_are_refused(desk, question) -> None:
    desk.write("a.jsonl", [question(1)])
    for keys in (
        {"dataset": ""},
        {"dataset": "a.jsonl,a.jsonl"},
        {"dataset": "a.jsonl", "eval_dataset": "a.jsonl", "val_size": 1},
    ):
        with pytest.raises(LlamaFactoryError) as caught:
            desk.prepare(**keys)
        assert caught.value.exit_code == 2
        assert caught.value.letter("zh")


def test_the_summary_says_what_was_said(desk, question) -> None:
    rows = [question(at, words=1 + at % 5) for at in range(40)] + [{**question(1), "output": "{{name}}"}]
    desk.write("a.jsonl", rows)
    prepared = desk.prepare("a.jsonl", val_size=5)
    assert prepared.summary.lines() == desk.said
    one = prepared.summary.train[0]
    lengths = [*sorted(5 + 2 + 1 + at % 5 for at in range(40)), 8]
    assert (one.length_max, one.tokens) == (max(lengths), sum(lengths))
    assert 0 < one.supervised_share < 1
    chinese = prepared.summary.lines("zh")
    assert len(chinese) == len(desk.said)
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in line) for line in chinese)


def test_every_line_says_the_same_in_both_languages() -> None:
    import string

    def fields(text: str) -> set[str]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    assert len(LINES) >= 8
    for line in LINES.values():
        assert fields(line.en) == fields(line.zh)


def test_progress_is_said_while_a_large_file_is_read(desk, question, monkeypatch) -> None:
    from llama_factory.data import preparing

    monkeypatch.setattr(preparing, "PROGRESS_EVERY_S", 0.0)
    desk.store([question(at) for at in range(1100)])
    assert [line for line in desk.said if "so far" in line][:2] == [
        "train.jsonl: 512 records so far",
        "train.jsonl: 1,024 records so far",
    ]


def test_splitting_is_a_pure_function_of_rows_and_seed(desk, question) -> None:
    store = desk.store([question(at) for at in range(50)])
    one, other = split(store, 0.2, 9), split(store, 0.2, 9)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.origins(), right.origins())
        assert left.fingerprint == right.fingerprint


def test_a_step_holds_the_rows_that_the_batch_keys_say() -> None:
    keys = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "cutoff_len": 512}
    run = from_mapping(keys, "test")
    assert rows_per_step(run) == 32
    assert token_budget(run) == 2048
    assert token_budget(from_mapping({**keys, "micro_batch_tokens": 999}, "test")) == 999


def test_the_room_loads_no_torch() -> None:
    code = "import sys, llama_factory.data; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
