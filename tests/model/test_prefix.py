"""The output of frozen layers, kept: the same numbers as computing it, and nothing kept where it would change."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from torch import nn

from llama_factory.errors import OurFault, ProofError
from llama_factory.model.layouts import Layout
from llama_factory.model.methods.names import layers
from llama_factory.model.policy import Policy
from llama_factory.model.prefix import RowFile
from llama_factory.records import Batch
from llama_factory.testing.prove import TOLERANCE, difference, plain_reference, policy_reference, rows
from llama_factory.testing.tiny import tiny_model

LENGTHS = (9, 2, 14, 1, 5)
COMMON = 4
ROOM = 1 << 24
LAYERS = 4


def frozen_below(kind: str = "llama", learning: int = 1, **overrides):
    """A tiny model whose last layers learn."""
    model = tiny_model(kind, attention=None, **{"num_hidden_layers": LAYERS, **overrides})
    model.requires_grad_(False)
    name, count = layers(model)
    model.get_submodule(name)[count - learning :].requires_grad_(True)
    return model


@pytest.fixture
def row_file(tmp_path):
    """`row_file(room)` makes one; all are closed at the end."""
    with ExitStack() as stack:
        yield lambda room=ROOM: stack.enter_context(RowFile(tmp_path, room))


def kept(model, file: RowFile, layout=None) -> Policy:
    policy = Policy(model, layout=layout)
    policy.keep_frozen_layers(file)
    return policy


def counted(policy: Policy, monkeypatch) -> list[int]:
    """The lengths of the rows that are computed from now on."""
    seen: list[int] = []
    usual = policy._below.compute
    monkeypatch.setattr(policy._below, "compute", lambda ids_T: seen.append(len(ids_T)) or usual(ids_T))
    return seen


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_gives_the_same_with_kept_rows_as_the_plain_model(layout, monkeypatch, row_file):
    batch, grad_S = rows(LENGTHS, common=COMMON)
    model = frozen_below()
    plain = plain_reference(model, batch, grad_S)
    policy = kept(model, row_file(), layout)
    computed = counted(policy, monkeypatch)
    first = policy_reference(policy, [batch], grad_S)
    assert computed == [COMMON + length - 1 for length in LENGTHS]
    second = policy_reference(policy, [batch], grad_S)
    assert len(computed) == len(LENGTHS), "the second time everything comes out of the file"
    for found in (first, second):
        assert len(found.gradients) == len([p for p in model.parameters() if p.requires_grad]) > 0
        assert max(difference(found, plain)) < TOLERANCE
    assert torch.equal(first.logprob_S, second.logprob_S)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "qwen3", "mistral", "olmo2"])
def test_other_types_give_the_same(kind, row_file):
    batch, grad_S = rows(LENGTHS, common=COMMON)
    model = frozen_below(kind).eval()
    policy = kept(model, row_file())
    plain = plain_reference(model, batch, grad_S)
    for _ in range(2):
        assert max(difference(policy_reference(policy, [batch], grad_S), plain)) < TOLERANCE


def test_what_is_kept_of_a_row_does_not_depend_on_the_rows_beside_it_nor_on_the_file(row_file):
    batch, _ = rows(LENGTHS, common=COMMON)
    model = frozen_below().to(torch.bfloat16)
    in_company = kept(model, row_file())
    in_company(batch)
    full = kept(model, row_file(0))
    for row in batch.rows_alone():
        one, other = in_company(row).logprob_S, full(row).logprob_S
        assert torch.equal(one, other)


def test_rows_that_find_no_room_are_computed_each_time(monkeypatch, row_file):
    batch, grad_S = rows(LENGTHS)
    model = frozen_below()
    policy = kept(model, row_file(9 * model.config.hidden_size * 4))
    computed = counted(policy, monkeypatch)
    references = [policy_reference(policy, [batch], grad_S) for _ in range(3)]
    assert computed == [8, 1, 13, 4] + 2 * [13, 4], "the first two had room"
    assert torch.equal(references[0].logprob_S, references[2].logprob_S)


def test_a_full_disk_ends_the_keeping_and_nothing_else(monkeypatch, row_file):
    file = row_file()
    file.put(b"one", torch.arange(6.0).view(2, 3))

    def full(*words):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        file.put(b"two", torch.ones(2, 3))
    file.put(b"three", torch.ones(2, 3))
    assert file.get(b"two") is None
    assert file.get(b"three") is None
    assert torch.equal(file.get(b"one"), torch.arange(6.0).view(2, 3))


def test_the_file_has_no_name_so_that_nothing_is_left_of_a_run_that_was_killed(tmp_path, row_file):
    file = row_file()
    file.put(b"one", torch.ones(5, 7, dtype=torch.bfloat16))
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(file.get(b"one"), torch.ones(5, 7, dtype=torch.bfloat16))
    assert file.get(b"other") is None


def test_layers_that_changed_after_they_were_kept_are_found_with_the_first_batch_that_is_read(row_file):
    batch, _ = rows(LENGTHS)
    model = frozen_below()
    policy = kept(model, row_file())
    policy(batch)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    with pytest.raises(ProofError) as caught:
        policy(batch)
    assert caught.value.id == "model.kept-differs"
    assert model.training, "the mode is put back"


def test_the_comparison_is_made_once_and_draws_no_random_numbers(monkeypatch, row_file):
    batch, _ = rows(LENGTHS)
    policy = kept(frozen_below(), row_file())
    shown = []
    usual = policy._show_below
    monkeypatch.setattr(policy, "_show_below", lambda *words: shown.append(words) or usual(*words))
    state = torch.get_rng_state()
    for _ in range(4):
        policy(batch)
    assert len(shown) == 1
    assert torch.equal(torch.get_rng_state(), state)


def _whole(model):
    model.requires_grad_(True)


def _embedding(model):
    model.get_input_embeddings().requires_grad_(True)


def _hook(model):
    model.get_input_embeddings().register_forward_hook(lambda module, args, out: out + 1)


@pytest.mark.parametrize(
    ("change", "overrides"),
    [(_whole, {}), (_embedding, {}), (_hook, {}), (lambda model: None, {"attention_dropout": 0.2})],
)
def test_nothing_is_kept_where_it_would_not_stay_true(change, overrides, row_file):
    model = frozen_below(**overrides)
    change(model)
    policy = Policy(model)
    assert policy.frozen_layers() == 0
    with pytest.raises(OurFault):
        policy.keep_frozen_layers(row_file())


@pytest.mark.parametrize(("tied", "depth"), [(True, 0), (False, LAYERS - 1)])
def test_a_head_that_learns_changes_what_is_below_only_if_it_is_the_embedding(tied, depth):
    model = frozen_below(tie_word_embeddings=tied)
    model.get_output_embeddings().requires_grad_(True)
    assert Policy(model).frozen_layers() == depth


def test_dropout_above_changes_nothing_below():
    model = frozen_below()
    model.model.layers[-1].mlp.act_fn = nn.Sequential(model.model.layers[-1].mlp.act_fn, nn.Dropout(0.5))
    assert Policy(model).frozen_layers() == LAYERS - 1
    model.model.layers[0].mlp.act_fn = nn.Sequential(model.model.layers[0].mlp.act_fn, nn.Dropout(0.5))
    assert Policy(model).frozen_layers() == 0


@pytest.mark.parametrize("layout", list(Layout))
def test_layers_below_the_lowest_that_learns_keep_nothing_for_the_backward(layout):
    batch, _ = rows(LENGTHS, common=COMMON)

    def saved(count: int) -> int:
        policy, numbers = Policy(frozen_below(num_hidden_layers=count), layout=layout), []

        def pack(tensor):
            numbers.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            policy(batch)
        return sum(numbers)

    assert saved(2) == saved(5) > 0


def test_rows_without_a_supervised_token_are_no_rows(row_file):
    ids_T = np.arange(3, 9, dtype=np.int32)
    weight_T = np.array([0, 0, 0, 0, 1, 1], dtype=np.float32)
    batch = Batch(ids_T, weight_T, np.array([0, 3, 6]), np.array([0, 1]))
    model = frozen_below()
    expected = Policy(model)(batch).logprob_S
    assert torch.allclose(kept(model, row_file())(batch).logprob_S, expected, atol=1e-5)
