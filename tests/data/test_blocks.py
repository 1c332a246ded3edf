"""Texts for pre-training: blocks that lose nothing, and rows of the right stage only."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data.blocks import blocks
from llama_factory.records import FROM_TEMPLATE, Origin, Rendered


def rendered(length: int) -> Rendered:
    weight_T = np.ones(length, dtype=np.float32)
    weight_T[0] = 0.0
    message_T = np.zeros(length, dtype=np.int16)
    message_T[-1] = FROM_TEMPLATE
    return Rendered("", np.arange(length, dtype=np.int32), weight_T, message_T, Origin("f", 3))


@settings(max_examples=200, deadline=None)
@given(length=st.integers(2, 200), limit=st.integers(2, 60))
def test_every_token_but_the_first_is_learned_exactly_once_after_the_tokens_before_it(length, limit) -> None:
    found = blocks(rendered(length), limit)
    learned: list[int] = []
    for block in found:
        assert 2 <= block.ids_T.size <= limit
        assert block.weight_T[0] == 0.0
        assert np.array_equal(np.diff(block.ids_T), np.ones(block.ids_T.size - 1))  # neighbours stay neighbours
        learned += block.ids_T[block.weight_T > 0].tolist()
        assert str(block.origin) == "f:3"
    assert learned == list(range(1, length))
    assert found[-1].message_T[-1] == FROM_TEMPLATE


def texts(count: int) -> list[dict[str, str]]:
    return [{"text": " ".join(f"w{at}-{word}" for word in range(3 * at + 1))} for at in range(count)]


def test_texts_become_blocks_and_are_packed_unless_said_otherwise(desk) -> None:
    desk.write("t.jsonl", texts(12))
    prepared = desk.prepare("t.jsonl", stage="pt", cutoff_len=16)
    lengths = [3 * at + 2 for at in range(12)]  # words and the end
    assert int(prepared.train.supervised.sum()) == sum(lengths) - 12
    assert prepared.train.lengths.max() == 16
    assert prepared.packs is not None
    assert prepared.units < len(prepared.train)
    assert prepared.summary.train[0].account.read == 12
    assert prepared.summary.train[0].account.too_long == 0
    assert desk.prepare("t.jsonl", stage="pt", cutoff_len=16, packing=False).packs is None


def test_blocks_of_one_text_are_validated_together(desk) -> None:
    desk.write("t.jsonl", texts(12))
    prepared = desk.prepare("t.jsonl", stage="pt", cutoff_len=8, val_size=4)
    assert prepared.validation is not None
    rows = {store: {int(row) for _, row in one.origins()} for store, one in
            (("train", prepared.train), ("judged", prepared.validation))}  # fmt: skip
    assert len(rows["judged"]) == 4
    assert not rows["train"] & rows["judged"]


def test_a_dialogue_is_no_text_and_a_text_no_dialogue(desk, question) -> None:
    error = desk.error([question(1)], stage="pt")
    assert (error.id, error.values["fits"]) == ("data.other-stage", "sft")
    assert desk.error(texts(2), stage="sft").id == "data.other-stage"


def test_the_stage_is_part_of_the_stores_key(desk) -> None:
    desk.write("t.jsonl", texts(3))
    desk.prepare("t.jsonl", stage="pt")
    assert desk.prepare("t.jsonl", stage="pt").summary.train[0].store == "hit"
    assert desk.prepare("t.jsonl", stage="pt", cutoff_len=9).summary.train[0].changed == ("cutoff_len 2048 -> 9",)


def test_a_text_that_cannot_be_rendered_is_a_bad_row(desk) -> None:
    desk.renderer.refuses = "w1-2"
    assert desk.error(texts(3), stage="pt").where.endswith(":2")
    assert len(desk.store(texts(3), stage="pt", on_bad_row="skip")) == 2
