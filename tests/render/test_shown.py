"""A row as tokens that can be read: the texts join to the whole, and nothing about a token is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.records import FROM_TEMPLATE, Conversation, Message, Origin
from llama_factory.render import Renderer
from llama_factory.render.renderer import load_renderer
from llama_factory.render.shown import Piece, pieces, texts, tokens

HERE = Origin("rows.jsonl", 1)


@pytest.fixture(scope="module")
def renderer(tiny_model: Path) -> Renderer:
    return load_renderer(tiny_model)


def row(renderer: Renderer, *said: str, weight: float | None = None):
    turns = [Message("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(said)]
    turns[-1] = Message("assistant", said[-1], weight)
    return renderer.render(Conversation(tuple(turns), HERE))


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_the_texts_of_the_tokens_join_to_the_text_of_the_row(renderer: Renderer, text: str) -> None:
    ids = renderer.tokenizer.rust.encode(text, add_special_tokens=False).ids
    assert "".join(texts(renderer, ids)) == renderer.decode(ids, skip_control=False)


def test_a_sign_of_several_tokens_is_written_by_its_last_one(renderer: Renderer) -> None:
    ids = renderer.tokenizer.rust.encode("a🙂b", add_special_tokens=False).ids
    found = texts(renderer, ids)
    assert len(found) > 3
    assert [text for text in found if text] == ["a", "🙂", "b"]


def test_bytes_that_are_no_text_are_shown_and_do_not_swallow_the_rest(renderer: Renderer) -> None:
    half = renderer.tokenizer.rust.encode("🙂", add_special_tokens=False).ids[:1]
    ids = [*half * 12, *renderer.tokenizer.rust.encode("end", add_special_tokens=False).ids]
    assert "".join(texts(renderer, ids)).endswith("end")


def test_every_token_says_its_weight_its_message_and_whether_it_is_control(renderer: Renderer) -> None:
    rendered = row(renderer, "Who <|im_end|>?", "Me.", weight=0.5)
    found = tokens(renderer, rendered)
    assert [one.id for one in found] == rendered.ids_T.tolist()
    control = [one for one in found if one.control]
    assert {one.text for one in control} == {"<|im_start|>", "<|im_end|>"}
    assert {one.message for one in control} == {FROM_TEMPLATE}
    assert "".join(one.text for one in found if one.message == 0) == "Who <|im_end|>?"
    assert "".join(one.text for one in found if one.weight == 0.5) == "Me.<|im_end|>"


def test_pieces_are_cut_where_the_weight_changes_and_on_demand_around_control_tokens(renderer: Renderer) -> None:
    rendered = row(renderer, "Who?", "Me.", weight=0.5)
    found = tokens(renderer, rendered)
    assert [one.weight for one in pieces(found)] == [0.0, 0.5, 0.0]
    assert pieces(found)[1] == Piece("Me.<|im_end|>", 0.5)
    apart = pieces(found, apart=True)
    assert Piece("<|im_end|>", 0.5, control=True) in apart
    for cut in (pieces(found), apart):
        assert "".join(one.text for one in cut) == rendered.text
    assert np.isclose(sum(one.weight for one in found), float(rendered.weight_T.sum()))
