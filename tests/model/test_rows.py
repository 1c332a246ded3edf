"""A head whose last rows learn: numbers and gradients of the plain definition, and no gradient for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_adapters import run_for
from torch import Tensor

from llama_factory.model import adapters, load, rows, upstream, vocabulary
from llama_factory.model.head import LogitRule, logprobs_of
from llama_factory.model.methods import Start
from llama_factory.model.policy import Policy
from llama_factory.model.vocabulary import Growth
from llama_factory.records import Batch

RULES = {"plain": LogitRule(), "scaled": LogitRule(scale=0.5), "capped": LogitRule(scale=2.0, softcap=3.0)}
V, D, START = 40, 8, 33


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_numbers_and_gradients_are_those_of_the_whole_head(rule: LogitRule) -> None:
    token_S, weight_S = torch.tensor([0, 7, 32, 33, 35, 34, 39]), drawn(7, seed=4)
    at_K = torch.tensor([33, 35, 36])
    found = []
    for apart in (True, False):
        hidden_SD = drawn(7, D, seed=1).requires_grad_(True)
        rows_KD = drawn(3, D, seed=2).requires_grad_(True)
        weight_VD = drawn(V, D, seed=3)
        if apart:
            learning = rows.LearningRows(weight_VD, START, at_K, rows_KD)
            logprob_S = rows.token_logprobs_with(hidden_SD, learning, token_S, rule, None)
        else:
            logits_SV = hidden_SD @ weight_VD.index_copy(0, at_K, rows_KD).t()
            logprob_S = logprobs_of(rule.apply(logits_SV), token_S)
        (logprob_S * weight_S).sum().backward()
        found.append((logprob_S.detach(), hidden_SD.grad, rows_KD.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert float(found[0][2].abs().min()) > 0


def grown(tiny_model: Path) -> Growth:
    own = json.loads((tiny_model / "config.json").read_text())["vocab_size"]
    return Growth(own, 64 * (own // 64 + 1), own, {"<a>": own, "<b>": own + 1})


def batch_with(*tokens: int) -> Batch:
    ids_T = np.array(tokens, dtype=np.int32)
    weight_T = np.ones(len(tokens), dtype=np.float32)
    weight_T[0] = 0
    return Batch(ids_T, weight_T, np.array([0, len(tokens)]), np.array([0]))


@pytest.mark.parametrize("tied", [True, False])
def test_the_policy_computes_what_peft_does_and_only_new_rows_learn(tiny_model: Path, tied: bool) -> None:
    growth = grown(tiny_model)
    first, second = growth.sorted_ids
    found = []
    for ours in (True, False):
        module = load.load(tiny_model, dtype="float32")
        if tied:
            module.config.tie_word_embeddings = True  # type: ignore[union-attr]
            module.tie_weights()  # type: ignore[operator]
        vocabulary.grow(module, growth)
        run = run_for(tiny_model, finetuning_type="lora", lora_rank=4)
        start = Start("float32", 1, fused=ours, new_ids=(first, second))
        module = adapters.attach(module, run.method, start).module
        if not ours:
            for layer in upstream.token_rows(module):
                del layer.forward_adapters
        for number, (name, value) in enumerate(sorted(module.named_parameters())):
            if value.requires_grad:
                value.data += 0.3 * drawn(*value.shape, seed=number).float()
                assert "lora_" in name or "trainable_tokens_delta" in name
        policy = Policy(module)
        out = policy.forward(batch_with(5, first, 9, second, 7, first)) if ours else policy.plain(
            batch_with(5, first, 9, second, 7, first)
        )  # fmt: skip
        assert rows.of(module.get_output_embeddings()) is not None  # type: ignore[operator]
        (out.logprob_S * drawn(len(out.logprob_S), seed=8).float()).sum().backward()
        grads = {name: value.grad for name, value in module.named_parameters() if value.grad is not None}
        found.append((out.logprob_S.detach(), grads))
    (ours_S, our_grads), (theirs_S, their_grads) = found
    torch.testing.assert_close(ours_S, theirs_S, rtol=0, atol=1e-5)
    assert our_grads.keys() == their_grads.keys()
    new = [name for name in our_grads if "trainable_tokens_delta" in name]
    assert len(new) == (1 if tied else 2)
    for name, grad in their_grads.items():
        torch.testing.assert_close(our_grads[name], grad, rtol=1e-4, atol=1e-5)
    assert all(float(our_grads[name].abs().max()) > 1e-4 for name in new)
