"""FlashAttention of torch for packed rows: when it is taken, and that it is asked for the right thing.

No GPU is here: the table of devices is made up, and what `varlen_attn` documents is computed by definition.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_factory.errors import InputError
from llama_factory.model import attention, varlen
from llama_factory.model.policy import Policy
from llama_factory.testing.prove import rows

NARROW = {"num_attention_heads": 9, "hidden_size": 576}
DEVICES: dict[str, tuple[str, str, dict[str, Any], tuple[int, int], str]] = {
    "A100": ("cuda", "bfloat16", NARROW, (8, 0), ""),
    "second card, half": ("cuda:1", "float16", {**NARROW, "head_dim": 256}, (9, 0), ""),
    "names of GPT-2": ("cuda", "bfloat16", {"n_head": 12, "n_embd": 768}, (8, 6), ""),
    "processor": ("cpu", "bfloat16", NARROW, (8, 0), "cpu"),
    "float32": ("cuda", "float32", NARROW, (8, 0), "float32"),
    "Turing": ("cuda", "float16", NARROW, (7, 5), "7.5"),
    "wide heads": ("cuda", "bfloat16", {**NARROW, "head_dim": 512}, (9, 0), "head_dim 512"),
    "odd heads": ("cuda", "bfloat16", {"num_attention_heads": 8, "hidden_size": 160}, (9, 0), "head_dim 20"),
    "unknown heads": ("cuda", "bfloat16", {}, (9, 0), "head_dim 0"),
}


@pytest.mark.parametrize("name", DEVICES)
def test_it_is_taken_where_it_fits_and_demanding_it_elsewhere_is_refused(name: str) -> None:
    device, dtype, config, capability, found = DEVICES[name]

    def choose(asked: str) -> bool:
        return varlen.choose(asked, device=device, dtype=dtype, config=config, capability=lambda: capability)

    assert choose("auto") is (not found)
    assert not any(choose(word) for word in ("sdpa", "eager", "disabled"))
    if not found:
        assert choose("fa2")
        return
    with pytest.raises(InputError) as caught:
        choose("fa2")
    assert (caught.value.id, caught.value.values["found"]) == ("model.no-flash", found)


def test_a_card_is_asked_for_nothing_where_there_is_none() -> None:
    def never() -> tuple[int, int]:
        raise AssertionError

    assert not varlen.choose("auto", device="cpu", dtype="bfloat16", config=NARROW, capability=never)


def by_definition(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seq_q: torch.Tensor, cu_seq_k: torch.Tensor,
    max_q: int, max_k: int, *, scale: float | None, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """What the kernel's page says: query (T, H, D), key (T, K, D), causal with the ends of both aligned."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert (int(cu_seq_q.diff().max()), int(cu_seq_k.diff().max())) == (max_q, max_k)
    assert all(it.is_contiguous() for it in (query, key, value))
    assert (cu_seq_q[-1], cu_seq_k[-1]) == (query.shape[0], key.shape[0])
    assert enable_gqa == (query.shape[1] != key.shape[1])
    left, right = window_size
    done = []
    for n in range(len(cu_seq_q) - 1):
        q, k, v = (
            it[bounds[n] : bounds[n + 1]].transpose(0, 1)
            for it, bounds in ((query, cu_seq_q), (key, cu_seq_k), (value, cu_seq_k))
        )
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        distance = torch.arange(q.shape[1])[:, None] + (k.shape[1] - q.shape[1]) - torch.arange(k.shape[1])[None]
        seen = (distance >= -right) & ((distance <= left) | (left < 0))
        scores = (q @ k.transpose(1, 2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
        done.append((scores.masked_fill(~seen, -1e30).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(done)


def heads(length: int, generator: torch.Generator) -> list[torch.Tensor]:
    return [
        torch.randn(1, count, length, 8, generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (4, 2, 2)
    ]


@pytest.mark.parametrize("window", [None, 1, 4, 100])
@pytest.mark.parametrize("common", [0, 6])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_it_is_asked_for_what_the_usual_attention_computes(
    monkeypatch: pytest.MonkeyPatch, window: int | None, common: int, scaling: float | None
) -> None:
    calls: list[int] = []

    def kernel(*given: Any, **named: Any) -> torch.Tensor:
        calls.append(1)
        return by_definition(*given, **named)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    own = [common, 3, 1, 7, 5] if common else [3, 1, 7, 5]
    seen = [common, *(length + common for length in own[1:])] if common else own
    bounds = [torch.tensor([0, *it]).cumsum(0, dtype=torch.int32) for it in (own, seen)]
    leaves = heads(sum(own), torch.Generator().manual_seed(0))
    found = []
    for attend in (varlen.attend, attention.attend):
        out, _ = attend(
            torch.nn.Module(), *leaves, attention.no_mask(leaves[0]), scaling=scaling, sliding_window=window,
            cu_seq_lens_q=bounds[0], cu_seq_lens_k=bounds[1],
        )  # fmt: skip
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    assert calls == [1]
    for ours, usual in zip(*found, strict=True):
        torch.testing.assert_close(ours, usual, rtol=0, atol=1e-11)


@pytest.mark.parametrize("more", [{"softcap": 2.0}, {"s_aux": torch.zeros(4, dtype=torch.float64)}, {"dropout": 0.5}])
def test_what_the_kernel_has_no_words_for_goes_the_usual_way(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", None)
    leaves, bounds = heads(9, torch.Generator().manual_seed(0)), torch.tensor([0, 4, 9], dtype=torch.int32)
    found = []
    for attend in (varlen.attend, attention.attend):
        torch.manual_seed(0)
        mask = attention.no_mask(leaves[0])
        found.append(attend(torch.nn.Module(), *leaves, mask, cu_seq_lens_q=bounds, **more)[0])
    assert torch.equal(*found)


def test_a_policy_computes_with_it_what_it_computes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def kernel(*given: Any, **named: Any) -> torch.Tensor:
        calls.append(1)
        return by_definition(*given, **named)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=199, max_position_embeddings=128, initializer_range=0.1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    batch, _ = rows((17, 40, 2, 23), seed=0, common=5)
    usual = Policy(model).forward(batch).logprob_S
    taken = Policy(model, varlen_kernel=True)
    assert calls == []
    torch.testing.assert_close(taken.forward(batch).logprob_S, usual, rtol=0, atol=1e-5)
    assert len(calls) == 3
    torch.testing.assert_close(taken.plain(batch).logprob_S, usual, rtol=0, atol=1e-5)
    assert len(calls) == 3


@pytest.mark.real
def test_a_run_is_told_before_its_weights_are_read(real_model: Path) -> None:
    from llama_factory.config import from_mapping
    from llama_factory.recipes.beforehand import attention as asked

    run = from_mapping({"model_name_or_path": str(real_model), "flash_attn": "flash_attention_2"}, "test")
    (found,) = asked(run, real_model)
    assert (found.id, found.severity, found.values) == ("model.no-flash", "error", {"found": "cpu"})
    assert not list(asked(from_mapping({"model_name_or_path": str(real_model)}, "test"), real_model))
