"""The measures that an export is judged by."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_factory.export import proof
from llama_factory.export.proof import Difference


def test_a_difference_worked_by_hand() -> None:
    one = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    two = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])
    found = proof.compare([one], [two])
    assert found.max_abs == pytest.approx(math.log(3.0))
    # KL of (3/4, 1/4) against (1/4, 3/4) is (3/4 - 1/4) log 3, at one of two positions
    assert found.kl == pytest.approx(0.5 * math.log(3.0) / 2)
    assert found.same_winner == 0.5


def test_a_shift_of_all_logits_is_no_divergence() -> None:
    one = torch.randn((5, 9), generator=torch.Generator().manual_seed(0))
    found = proof.compare([one], [one + 3.0])
    assert found.kl == pytest.approx(0.0, abs=1e-9)
    assert found.max_abs == pytest.approx(3.0, abs=1e-5)


def test_what_is_not_a_number_is_beyond_every_limit() -> None:
    one = torch.zeros((1, 3))
    found = proof.compare([one], [torch.full((1, 3), math.nan)])
    assert not found.within(Difference(1e30, 1e30, 0.0))


def test_the_limit_is_the_noise_with_a_margin_and_never_nothing() -> None:
    allowed = Difference(1e-3, 1e-6, 1.0).allowed(largest=10.0)
    assert (allowed.max_abs, allowed.kl) == pytest.approx((8e-3, 64e-6))
    floor = Difference(0.0, 0.0, 1.0).allowed(largest=10.0)
    assert floor.max_abs == pytest.approx(10 * 64 * 2**-24)
    assert Difference(8e-3, 64e-6, 0.0).within(allowed)
    assert not Difference(8.1e-3, 0.0, 1.0).within(allowed)
    assert not Difference(0.0, 65e-6, 1.0).within(allowed)


def tiny() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
        )
        return LlamaForCausalLM(config).eval()


def test_prompts_are_the_same_every_time_and_within_window_and_vocabulary() -> None:
    prompts = proof.random_prompts(64, 10)
    assert prompts == proof.random_prompts(64, 10)
    assert [len(ids) for ids in prompts] == [10] * proof.PROMPTS
    assert all(0 <= id < 64 for ids in prompts for id in ids)
    assert len({tuple(ids) for ids in prompts}) == proof.PROMPTS


def test_measured_noise_is_about_what_rounding_does() -> None:
    prompts = proof.random_prompts(64, None)
    model = tiny()
    reference = proof.logits(model, prompts)
    rounded = tiny()
    with torch.no_grad():
        for value in rounded.parameters():
            value.copy_(value.to(torch.bfloat16).float())
    true = proof.compare(reference, proof.logits(rounded, prompts))
    names = [name for name, _ in model.named_parameters()]
    measured = proof.noise(model, names, prompts, reference, "bfloat16")
    assert 0.3 < measured.max_abs / true.max_abs < 4
    assert 0.1 < measured.kl / true.kl < 10
    fine = proof.noise(tiny(), names, prompts, reference, "float32")
    assert fine.max_abs < measured.max_abs / 1000
