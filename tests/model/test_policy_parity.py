"""Beside plain transformers and peft, as everybody trains: padded batches, an attention mask, all logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from llama_factory.model.policy import Policy
from llama_factory.records import Batch
from llama_factory.testing.prove import rows

pytestmark = pytest.mark.parity

LENGTHS = (17, 40, 2, 23, 31, 9)
SPLITS = (
    [[0, 1, 2, 3, 4, 5]],
    [[0, 1, 2], [3, 4, 5]],
    [[5, 0], [4, 1], [3, 2]],
    [[1], [0, 2, 3, 4, 5]],
    [[r] for r in range(6)],
)


def with_lora(model):
    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(model, config).train()


def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=199, max_position_embeddings=128, initializer_range=0.1,
    )  # fmt: skip
    return with_lora(LlamaForCausalLM(config))


def part_of(batch: Batch, picked: list[int]) -> Batch:
    spans = [slice(batch.offsets[r], batch.offsets[r + 1]) for r in picked]
    offsets = np.concatenate([[0], np.cumsum([s.stop - s.start for s in spans])])
    ids_T, weight_T = (np.concatenate([values[s] for s in spans]) for values in (batch.ids_T, batch.weight_T))
    return Batch(ids_T, weight_T, offsets, batch.rows[picked])


def padded_plain(model, batch: Batch):
    """All rows filled up to the longest, a mask, all logits; the supervised tokens' log-probabilities."""
    longest = int(batch.lengths_R.max())
    ids_BT = torch.zeros(len(batch.rows), longest, dtype=torch.long)
    mask_BT, weight_BT = torch.zeros_like(ids_BT), torch.zeros(ids_BT.shape)
    for r, (start, end) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        ids_BT[r, : end - start] = torch.from_numpy(batch.ids_T[start:end].astype(np.int64))
        weight_BT[r, : end - start] = torch.from_numpy(batch.weight_T[start:end])
        mask_BT[r, : end - start] = 1
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    logp_BT = logits_BTV[:, :-1].log_softmax(-1).gather(-1, ids_BT[:, 1:, None])[..., 0]
    return logp_BT[weight_BT[:, 1:] > 0]


def gradients(model, loss):
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def assert_same(model, batch: Batch, splits):
    logprob_S = padded_plain(model, batch)
    plain = gradients(model, -logprob_S.mean())
    assert len(plain) >= 42
    policy = Policy(model)
    for split in splits:
        parts = [part_of(batch, picked) for picked in split]
        ours = {name: torch.zeros_like(g) for name, g in plain.items()}
        for part, picked in zip(parts, split, strict=True):
            found = policy.forward(part).logprob_S
            for name, grad in gradients(model, -found.sum() / len(logprob_S)).items():
                ours[name] += grad
            expected = torch.cat([row_of(batch, logprob_S, r) for r in picked])
            assert (found - expected).abs().max() / expected.abs().max() < 1e-5
        largest = max(float(g.norm()) for g in plain.values())
        for name, grad in plain.items():
            assert (ours[name] - grad).norm() / max(float(grad.norm()), 1e-2 * largest) < 1e-5, name


def row_of(batch: Batch, logprob_S, r: int):
    counts = [int((batch.weight_T[a:b] != 0).sum()) for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
    return logprob_S[sum(counts[:r]) : sum(counts[: r + 1])]


def test_a_tiny_llama_with_lora_equals_the_padded_batch_however_it_is_split():
    batch, _ = rows(LENGTHS, vocabulary=199)
    assert_same(tiny(), batch, SPLITS)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_model_with_lora_equals_the_padded_batch(real_model: Path):
    model = with_lora(AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32))
    batch, _ = rows((40, 25, 61), vocabulary=49152)
    assert_same(model, batch, ([[0, 1, 2]], [[2], [1, 0]]))
