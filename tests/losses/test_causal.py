"""The token loss: by hand, against torch, and under splitting and reordering."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from llama_factory.losses import token_nll


def test_two_tokens_worked_by_hand() -> None:
    term = token_nll(torch.tensor([math.log(0.5), math.log(0.25)]), torch.tensor([1.0, 0.5]))
    assert term.sum.item() == pytest.approx(math.log(2) + 0.5 * math.log(4), rel=1e-6)
    assert term.count == 1.5
    assert term.weight == 1.0


def test_sum_over_count_is_torchs_mean_cross_entropy() -> None:
    logits_SV = torch.randn(50, 11, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target_S = torch.arange(50) % 11
    term = token_nll(logits_SV.log_softmax(-1).gather(-1, target_S[:, None])[:, 0], torch.ones(50))
    mean = term.sum / term.count
    (ours,) = torch.autograd.grad(mean, logits_SV, retain_graph=True)
    reference = cross_entropy(logits_SV, target_S)
    (theirs,) = torch.autograd.grad(reference, logits_SV)
    torch.testing.assert_close(mean, reference, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_sums_and_counts_of_any_split_add_up_and_order_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    logprob_S = -torch.rand(40, generator=generator)
    weight_S = torch.rand(40, generator=generator)
    whole = token_nll(logprob_S, weight_S)
    tried = 0
    for cuts in ([1, 39], [20, 20], [7, 13, 20], [1] * 40):
        parts = [token_nll(p, w) for p, w in zip(logprob_S.split(cuts), weight_S.split(cuts), strict=True)]
        assert sum(part.sum.item() for part in parts) == pytest.approx(float(whole.sum), rel=1e-6)
        assert sum(part.count for part in parts) == pytest.approx(whole.count, rel=1e-12)
        tried += 1
    assert tried == 4
    order = torch.randperm(40, generator=generator)
    assert float(token_nll(logprob_S[order], weight_S[order]).sum) == pytest.approx(float(whole.sum), rel=1e-6)


def test_half_precision_log_probabilities_are_summed_in_fp32() -> None:
    term = token_nll(torch.full((4096,), -1.0, dtype=torch.bfloat16), torch.ones(4096))
    assert term.sum.dtype == torch.float32
    assert term.sum.item() == 4096.0


def test_no_token_gives_zero_and_a_count_of_zero_that_the_loop_refuses() -> None:
    term = token_nll(torch.zeros(0), torch.zeros(0))
    assert float(term.sum) == 0.0
    assert term.count == 0.0


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        token_nll(torch.zeros(3), torch.zeros(2))
