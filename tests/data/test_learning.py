"""What of a row is learned: all answers, the last one, or everything; weights of the rows' own stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llama_factory.data.learning import Learner, everything, only_last_answer
from llama_factory.records import FROM_TEMPLATE, Conversation, Message, Origin, Rendered

TALK = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]


def talk(*weights: float | None) -> Conversation:
    messages = (Message(one["role"], one["content"], weight) for one, weight in zip(TALK, weights, strict=True))
    return Conversation(tuple(messages), Origin("f", 1))


def test_every_answer_is_learned_unless_said_otherwise(desk) -> None:
    assert desk.trained(desk.store([{"messages": TALK}])) == ["a1 <stop > a2 <stop >"]


def test_mask_history_learns_the_last_answer_of_every_row_and_changes_no_token(desk) -> None:
    rows = [{"messages": TALK}, {"messages": TALK[1:3]}]
    usual, masked = desk.store(rows), desk.store(rows, mask_history=True)
    assert desk.trained(masked) == ["a2 <stop >", "a1 <stop >"]
    assert desk.texts(masked) == desk.texts(usual)


def test_mask_history_of_a_row_that_was_shortened_learns_the_last_answer_that_is_left(desk) -> None:
    long = [*TALK, {"role": "user", "content": "q3"}, {"role": "assistant", "content": "word " * 40}]
    keys = {"mask_history": True, "cutoff_len": 30}
    assert desk.trained(desk.store([{"messages": long}], on_too_long="truncate", **keys)) == ["a2 <stop >"]
    # a round that fits no row is left out; of the row that is left, the last answer is learned
    assert desk.trained(desk.store([{"messages": long}], on_too_long="split", **keys)) == ["a2 <stop >"]


def test_train_on_prompt_learns_every_token_but_the_first(desk) -> None:
    store = desk.store([{"messages": TALK}], train_on_prompt=True)
    (row,) = (store.row(at) for at in range(len(store)))
    assert row.weight_T.tolist() == [0.0] + [1.0] * (row.ids_T.size - 1)


def test_train_on_prompt_keeps_the_weight_that_a_turn_has_of_its_own() -> None:
    owners = [FROM_TEMPLATE, 0, 0, FROM_TEMPLATE, 1, FROM_TEMPLATE, 2, 2, FROM_TEMPLATE, 3, 4, FROM_TEMPLATE]
    message_T = np.array(owners, dtype=np.int16)
    ids_T = np.arange(len(owners), dtype=np.int32)
    rendered = Rendered("", ids_T, np.zeros(len(owners), np.float32), message_T, Origin("f", 1))
    found = everything(talk(None, None, 0.0, 0.5, None), rendered).weight_T
    assert found.tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0.5, 1, 1]
    assert rendered.weight_T.tolist() == [0] * 12


def test_of_a_record_that_is_several_examples_each_prompt_is_learned_once() -> None:
    """The second example has the first one's turns before its own, rewritten: they are read there."""

    class Rewriting:
        def render_many(self, conversations):
            first = Rendered("", np.arange(5, dtype=np.int32), np.array([0, 0, 0, 1, 1], np.float32),
                             np.array([-1, 0, 1, 2, -1], np.int16), Origin("f", 1))  # fmt: skip
            second = Rendered("", np.arange(8, dtype=np.int32), np.array([0, 0, 0, 0, 0, 0, 1, 1], np.float32),
                              np.array([-1, 0, 1, 2, -1, 3, 4, -1], np.int16), Origin("f", 1))  # fmt: skip
            return [((replace(talk(*[None] * 5), messages=talk(*[None] * 5).messages[:3]), first),
                     (talk(None, None, 0.0, None, None), second))]  # fmt: skip

    ((first, second),) = Learner(Rewriting(), "everything").render_many([talk(*[None] * 5)])  # type: ignore[arg-type]
    assert first[1].weight_T.tolist() == [0, 1, 1, 1, 1]
    assert second[1].weight_T.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_what_stands_behind_the_last_stop_is_not_learned() -> None:
    message_T = np.array([-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, -1], dtype=np.int16)
    weight_T = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0], dtype=np.float32)  # the last is a line break
    rendered = Rendered("", np.arange(12, dtype=np.int32), weight_T, message_T, Origin("f", 1))
    assert everything(talk(None, None, None, None, None), rendered).weight_T.tolist() == [0] + [1] * 10 + [0]


def test_a_last_answer_with_weight_0_leaves_nothing_to_learn(desk) -> None:
    muted = [*TALK[:-1], {**TALK[-1], "weight": 0}]
    assert desk.error([{"messages": muted}], mask_history=True).id == "data.nothing-to-learn"
    assert [one.weight for one in only_last_answer(talk(None, None, None, None, 0.0)).messages] == [
        None, None, 0.0, None, 0.0,
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["train_on_prompt", "mask_history"])
def test_what_is_learned_is_part_of_the_stores_key_and_named_when_it_changes(desk, key) -> None:
    desk.store([{"messages": TALK}])
    summary = desk.prepare("train.jsonl", **{key: True}).summary.train[0]
    assert summary.store == "miss"
    assert "what is learned answers -> " in summary.changed[0]
    assert desk.prepare("train.jsonl", **{key: True}).summary.train[0].store == "hit"
