"""The loop against a plain PyTorch loop written by hand, on a tiny Llama in fp32."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from trainer_toys import VOCABULARY, toy_source
from transformers import LlamaConfig, LlamaForCausalLM, get_scheduler

from llama_factory.losses import Term, token_nll
from llama_factory.records import Batch
from llama_factory.trainer import FitPlan, Progress, fit
from llama_factory.trainer.observers import Quiet

STEPS = 10


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config)


class LlamaPolicy:
    def __init__(self) -> None:
        self.module: nn.Module = tiny_llama()

    def trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.module.named_parameters())


def objective(policy: LlamaPolicy, batch: Batch) -> Mapping[str, Term]:
    """Row by row: no packing, no padding."""
    found, weights = [], []
    for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        ids_T = torch.from_numpy(batch.ids_T[start:end].astype("int64"))
        weight_T = torch.from_numpy(batch.weight_T[start:end])
        logprob_TV = policy.module(ids_T[None]).logits[0].log_softmax(-1)
        found.append(logprob_TV[:-1].gather(-1, ids_T[1:, None])[:, 0])
        weights.append(weight_T[1:])
    return {"sft": token_nll(torch.cat(found), torch.cat(weights))}


class Remember(Quiet):
    def __init__(self) -> None:
        self.heard: list[Progress] = []

    def stepped(self, progress: Progress) -> None:
        self.heard.append(progress)


def by_hand() -> tuple[list[float], list[float], nn.Module]:
    """Whole steps at once, torch's own AdamW, transformers' own scheduler, torch's own clipping."""
    model, source = tiny_llama(), toy_source(rows_per_step=6, rows_per_batch=6)
    decay = [p for name, p in model.named_parameters() if "norm" not in name]
    rest = [p for name, p in model.named_parameters() if "norm" in name]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, foreach=False, fused=False)
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=STEPS)
    model.train()
    losses, norms = [], []
    for _ in range(STEPS):
        total, count = torch.zeros(()), 0.0
        for row in source.next_step().batches[0].rows.tolist():
            ids_T, weight_T = (torch.from_numpy(part) for part in source.rows[row])
            logits_TV = model(ids_T[None].long()).logits[0]
            each_T = cross_entropy(logits_TV[:-1], ids_T[1:].long(), reduction="none")
            total, count = total + (each_T * weight_T[1:]).sum(), count + float(weight_T[1:].sum())
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses, norms, model


@pytest.mark.parity
def test_ten_steps_equal_a_plain_pytorch_loop() -> None:
    losses, norms, model = by_hand()
    policy, heard = LlamaPolicy(), Remember()
    plan = FitPlan(
        max_steps=STEPS,
        learning_rate=1e-3,
        weight_decay=0.1,
        max_grad_norm=0.5,
        lr_scheduler_type="cosine",
        warmup_steps=3,
    )
    result = fit(policy, toy_source(rows_per_step=6, rows_per_batch=2), objective, plan, observers=[heard])
    assert result.step == len(heard.heard) == STEPS
    assert losses[-1] < losses[0]
    assert min(norms) > 0.5, "clipping must have been at work"
    assert [told.loss for told in heard.heard] == pytest.approx(losses, rel=1e-6)
    assert [told.grad_norm for told in heard.heard] == pytest.approx(norms, rel=1e-5)
    for name, value in model.named_parameters():
        # Adam divides by the root of the second moment: where a gradient is nearly 0 its rounding is magnified.
        torch.testing.assert_close(result.masters[name], value.detach(), rtol=1e-4, atol=2e-6)
    assert result.loss == pytest.approx(sum(losses) / STEPS, rel=1e-6)
