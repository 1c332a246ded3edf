"""The same through the real renderer and a real tokenizer: what is stored is what it rendered."""

from __future__ import annotations

import numpy as np
import pytest

from llama_factory.data import TokenStore
from llama_factory.errors import DataError
from llama_factory.render import load_renderer

TALK = [
    ("system", "Be short."),
    ("user", "What is the capital of France?"),
    ("assistant", "Paris, <|im_end|> of course."),
    ("user", "And of Italy?"),
    ("assistant", "Rome has been the capital of Italy since 1871, after Turin and Florence."),
]


@pytest.fixture(scope="module")
def real_renderer(tiny_model):
    return load_renderer(tiny_model, template=None, default_system=None, allow_mismatch=False)


def rows() -> list[dict[str, object]]:
    return [{"messages": [{"role": role, "content": content} for role, content in TALK]}]


def trained(store: TokenStore, renderer) -> list[str]:
    found = [store.row(at) for at in range(len(store))]
    return [renderer.decode([int(token) for token in row.ids_T[row.weight_T > 0]], skip_control=False) for row in found]


def test_the_answers_and_their_stop_tokens_are_what_is_trained(desk, real_renderer) -> None:
    desk.renderer = real_renderer
    store = desk.store(rows())
    (said,) = trained(store, real_renderer)
    assert said == f"{TALK[2][1]}<|im_end|>{TALK[4][1]}<|im_end|>"
    row = store.row(0)
    assert np.isin(row.ids_T, real_renderer.stop_ids).sum() == len(TALK)


@pytest.mark.parametrize("how", ["truncate", "split"])
def test_no_limit_makes_a_row_that_ends_inside_or_without_what_it_taught(desk, real_renderer, how) -> None:
    desk.renderer = real_renderer
    whole = int(desk.store(rows()).lengths[0])
    seen = set()
    for limit in range(whole - 1, 0, -7):
        try:
            store = desk.prepare("train.jsonl", on_too_long=how, cutoff_len=limit).train
        except DataError as error:
            if error.id == "data.no-rows-left":
                break
            raise
        assert store.lengths.max() <= limit
        for text in trained(store, real_renderer):
            stops = text.count("<|im_end|>") - text.count("<|im_end|> of")
            answers = [answer for answer in (TALK[2][1], TALK[4][1]) if answer[:4] in text]
            seen.add((len(answers), stops))
            assert stops in (len(answers), len(answers) - 1)
            assert stops == len(answers) or how == "truncate"
    assert len(seen) >= (2 if how == "truncate" else 1)
