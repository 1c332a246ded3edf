"""The chunked head: by hand, against the definition, under any gradient, and without all logits ever existing."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from llama_factory.model import head
from llama_factory.model.head import CHUNK_ROWS, LogitRule, logprobs_of, token_logprobs

RULES = [LogitRule(), LogitRule(scale=0.25), LogitRule(softcap=3.0), LogitRule(scale=2.0, softcap=1.5)]
MANY = 2 * CHUNK_ROWS + 7


def made(rows: int, vocabulary: int = 37, width: int = 8, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(1)
    hidden_SD = torch.randn(rows, width, generator=generator, dtype=dtype)
    weight_VD = torch.randn(vocabulary, width, generator=generator, dtype=dtype)
    bias_V = torch.randn(vocabulary, generator=generator, dtype=dtype)
    return hidden_SD, weight_VD, bias_V, torch.randint(vocabulary, (rows,), generator=generator)


def by_definition(hidden_SD, weight_VD, bias_V, token_S, rule):
    logits_SV = torch.nn.functional.linear(hidden_SD, weight_VD, bias_V) * rule.scale
    if rule.softcap is not None:
        logits_SV = rule.softcap * torch.tanh(logits_SV / rule.softcap)
    return logprobs_of(logits_SV, token_S)


def test_a_row_worked_by_hand():
    # logits 0, ln 2, ln 5: probabilities 1/8, 2/8, 5/8
    weight_VD = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    hidden_SD = torch.ones(2, 1, requires_grad=True)
    logprob_S = token_logprobs(hidden_SD, weight_VD, None, torch.tensor([0, 2]), LogitRule())
    assert logprob_S.tolist() == pytest.approx([math.log(1 / 8), math.log(5 / 8)], rel=1e-6)
    (3 * logprob_S[0] + logprob_S[1]).backward()
    mean = 2 / 8 * math.log(2) + 5 / 8 * math.log(5)
    assert hidden_SD.grad[:, 0].tolist() == pytest.approx([-3 * mean, math.log(5) - mean], rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [1, CHUNK_ROWS, MANY])
def test_values_equal_the_definition_whatever_the_number_of_chunks(rule, rows):
    given = made(rows)
    assert torch.allclose(token_logprobs(*given, rule), by_definition(*given, rule), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("trained", ["hidden", "hidden weight", "hidden weight bias", "weight", "bias"])
def test_gradients_equal_the_definition_for_any_weighting_of_the_tokens(rule, trained):
    hidden_SD, weight_VD, bias_V, token_S = made(MANY)
    leaves = {"hidden": hidden_SD, "weight": weight_VD, "bias": bias_V}
    learning = [leaves[name].requires_grad_() for name in trained.split()]
    grad_S = torch.randn(MANY, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours = torch.autograd.grad(token_logprobs(hidden_SD, weight_VD, bias_V, token_S, rule), learning, grad_S)
    plain = torch.autograd.grad(by_definition(hidden_SD, weight_VD, bias_V, token_S, rule), learning, grad_S)
    for mine, theirs in zip(ours, plain, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_equal_finite_differences():
    hidden_SD, weight_VD, bias_V, token_S = made(5, vocabulary=7, width=3)
    for tensor in (hidden_SD, weight_VD, bias_V):
        tensor.requires_grad_()
    rule = LogitRule(scale=0.7, softcap=2.0)
    assert torch.autograd.gradcheck(
        lambda h, w, b: token_logprobs(h, w, b, token_S, rule), (hidden_SD, weight_VD, bias_V)
    )
    frozen = weight_VD.detach()
    assert torch.autograd.gradcheck(lambda h: token_logprobs(h, frozen, None, token_S, rule), (hidden_SD,))


def test_a_token_that_the_model_all_but_excludes_has_a_finite_logprob():
    hidden_SD = torch.tensor([[300.0]], requires_grad=True)
    logprob_S = token_logprobs(hidden_SD, torch.tensor([[1.0], [-1.0]]), None, torch.tensor([1]), LogitRule())
    assert logprob_S.item() == pytest.approx(-600.0)
    logprob_S.sum().backward()
    assert hidden_SD.grad.item() == pytest.approx(-2.0)


@pytest.mark.parametrize("trains_head", [False, True])
def test_bfloat16_weights_give_float32_logprobs_near_the_exact_ones(trains_head):
    hidden_SD, weight_VD, _, token_S = made(MANY, width=64)
    weight_VD = weight_VD / 8
    exact_h, exact_w = hidden_SD.bfloat16().double().requires_grad_(), weight_VD.bfloat16().double().requires_grad_()
    half_h, half_w = hidden_SD.bfloat16().requires_grad_(), weight_VD.bfloat16().requires_grad_(trains_head)
    exact = by_definition(exact_h, exact_w, None, token_S, LogitRule())
    half = token_logprobs(half_h, half_w, None, token_S, LogitRule())
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 2e-2  # the logits themselves are rounded to bfloat16
    exact.sum().backward()
    half.sum().backward()
    assert half_h.grad.dtype == torch.bfloat16
    assert (half_h.grad - exact_h.grad).norm() / exact_h.grad.norm() < 1e-2
    if trains_head:
        assert (half_w.grad - exact_w.grad).norm() / exact_w.grad.norm() < 1e-2
    else:
        assert half_w.grad is None


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(t.numel() for t in tree_iter(out) if isinstance(t, torch.Tensor))])
        return out


@pytest.mark.parametrize(("trains_head", "kept_chunks"), [(False, 0), (True, 0), (True, 3)])
def test_no_tensor_ever_holds_the_logits_of_all_rows(trains_head, kept_chunks, monkeypatch):
    monkeypatch.setattr(head, "KEPT_BYTES", kept_chunks * CHUNK_ROWS * 500 * 8 + 999)
    hidden_SD, weight_VD, _, token_S = made(8 * CHUNK_ROWS, vocabulary=500)
    hidden_SD.requires_grad_()
    weight_VD.requires_grad_(trains_head)
    with Largest() as seen:
        token_logprobs(hidden_SD, weight_VD, None, token_S, LogitRule()).sum().backward()
    assert seen.numbers == max(1, kept_chunks) * CHUNK_ROWS * 500


@pytest.mark.parametrize("kept_chunks", [0, 1, 2, 100])
def test_what_is_kept_for_the_backward_changes_no_gradient(kept_chunks, monkeypatch):
    monkeypatch.setattr(head, "KEPT_BYTES", kept_chunks * CHUNK_ROWS * 37 * 8 + 999)
    hidden_SD, weight_VD, bias_V, token_S = made(MANY)
    leaves = [tensor.requires_grad_() for tensor in (hidden_SD, weight_VD, bias_V)]
    grad_S = torch.randn(MANY, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rule = LogitRule(scale=0.7, softcap=2.0)
    ours = torch.autograd.grad(token_logprobs(*leaves, token_S, rule), leaves, grad_S)
    plain = torch.autograd.grad(by_definition(*leaves, token_S, rule), leaves, grad_S)
    for mine, theirs in zip(ours, plain, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_frozen_head_is_multiplied_twice_a_chunk_and_never_in_the_backward():
    hidden_SD, weight_VD, _, token_S = made(MANY)
    hidden_SD.requires_grad_()
    with torch.profiler.profile() as seen:
        logprob_S = token_logprobs(hidden_SD, weight_VD, None, token_S, LogitRule())
    assert sum(event.count for event in seen.key_averages() if event.key == "aten::mm") == 2 * 3
    with torch.profiler.profile() as seen:
        logprob_S.sum().backward()
    assert sum(event.count for event in seen.key_averages() if event.key == "aten::mm") == 0
