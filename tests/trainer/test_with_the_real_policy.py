"""The same promises with the policy that recipes use, on a tiny Llama: splits, bf16 masters, a falling loss."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from trainer_toys import VOCABULARY, toy_plan, toy_source
from transformers import LlamaConfig, LlamaForCausalLM

from llama_factory.losses import Term, token_nll
from llama_factory.model.policy import LOGPROBS, Policy
from llama_factory.records import Batch
from llama_factory.trainer import fit
from llama_factory.trainer.accumulate import accumulate


def tiny(dtype: torch.dtype = torch.float32) -> Policy:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return Policy(LlamaForCausalLM(config).to(dtype))


def objective(policy: Policy, batch: Batch) -> Mapping[str, Term]:
    found = policy.forward(batch, LOGPROBS)
    return {"sft": token_nll(found.logprob_S, torch.from_numpy(batch.weight_T)[found.index_S])}


def gradients_of(rows_per_batch: int) -> dict[str, Tensor]:
    policy = tiny()
    step = toy_source(rows_per_step=8, rows_per_batch=rows_per_batch).next_step()
    accumulate(policy, objective, step, number=1, origin=str)
    return {name: p.grad for name, p in policy.trainable().items() if p.grad is not None}


@pytest.mark.parity
def test_gradients_are_the_same_for_any_split_into_micro_batches() -> None:
    whole = gradients_of(8)
    assert len(whole) == 21
    size = torch.cat([gradient.flatten() for gradient in whole.values()]).norm()
    for rows_per_batch in (1, 3, 4):
        found = gradients_of(rows_per_batch)
        apart = torch.cat([(found[name] - whole[name]).flatten() for name in whole]).norm()
        assert apart <= 1e-6 * size, rows_per_batch


def test_bf16_weights_learn_through_their_masters() -> None:
    policy = tiny(torch.bfloat16)
    losses: list[float] = []

    def judged(policy: Policy, batch: Batch) -> Mapping[str, Term]:
        term = objective(policy, batch)["sft"]
        losses.append(term.sum.item() / term.count)
        return {"sft": term}

    plan = toy_plan(max_steps=30, learning_rate=1e-2, lr_scheduler_type="constant")
    result = fit(policy, toy_source(rows_per_step=37, rows_per_batch=37), judged, plan)
    assert losses[-1] < losses[0] - 0.5
    assert {value.dtype for value in result.masters.values()} == {torch.float32}
    for name, parameter in policy.trainable().items():
        assert torch.equal(parameter.detach(), result.masters[name].bfloat16())
