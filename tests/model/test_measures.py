"""What a loss asks of the whole distribution is what plain logits say, gradients too, however rows are laid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.losses import asft, eaft, smoothed, token_nll
from llama_factory.model import load, measures
from llama_factory.model.layouts import Layout
from llama_factory.model.measures import Measure
from llama_factory.model.policy import LOGPROBS, Policy, PolicyOutput, Want
from llama_factory.recipes.sft import objective_of
from llama_factory.records import Batch
from llama_factory.testing.prove import rows
from llama_factory.testing.tiny import tiny_model as tiny

LENGTHS = (9, 2, 14, 5, 13, 8)
EVERY = LOGPROBS | {Want.MEAN, Want.ENTROPY, Want.DIVERGENCE}


def some(common: int = 0) -> Batch:
    return rows(LENGTHS, common=common)[0]


def lora() -> Any:
    settings = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    return get_peft_model(tiny("llama", attention=None), LoraConfig(**settings)).train()


def plainly(module: Any, batch: Batch) -> torch.Tensor:
    """Logits at the supervised tokens, row by row, as transformers gives them."""
    found = []
    for row in batch.rows_alone():
        index = np.flatnonzero(row.weight_T)
        ids = torch.from_numpy(row.ids_T.astype(np.int64))
        found.append(module(input_ids=ids[None], use_cache=False).logits[0][index - 1])
    return torch.cat(found)


@pytest.mark.parametrize("common", [0, 4])
@pytest.mark.parametrize("layout", [None, Layout.PACKED, Layout.PADDED])
def test_they_and_their_gradients_are_those_of_plain_logits(
    layout: Layout | None, common: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(measures, "CHUNK_ROWS", 5)
    module, batch = lora(), some(common)
    policy = Policy(module, layout=layout)
    found = policy.forward(batch, EVERY)
    token = torch.from_numpy(batch.ids_T.astype(np.int64))[found.index_S]
    loss(found).backward()
    ours = {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}
    module.zero_grad()
    logp = torch.log_softmax(plainly(module, batch).float(), -1)
    with module.disable_adapter(), torch.no_grad():
        base = torch.log_softmax(plainly(module, batch).float(), -1)
    top = logp.detach().topk(20).values.log_softmax(-1)
    expected = PolicyOutput(
        logp.gather(1, token[:, None])[:, 0],
        found.index_S,
        {
            Measure.MEAN: logp.mean(-1),
            Measure.ENTROPY: -(top.exp() * top).sum(-1) / math.log(20),
            Measure.DIVERGENCE: torch.nn.functional.kl_div(logp, base, log_target=True, reduction="none").sum(-1),
        },
    )
    torch.testing.assert_close(found.logprob_S, expected.logprob_S, rtol=1e-5, atol=1e-5)
    assert len(found.measured) == 3
    for one, value in expected.measured.items():
        torch.testing.assert_close(found.measured[one], value, rtol=1e-4, atol=1e-5)
    assert float(found.measured[Measure.DIVERGENCE].detach().min()) > 1e-4
    loss(expected).backward()
    assert len(ours) > 10
    for name, value in module.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(ours[name], value.grad, rtol=1e-4, atol=1e-5)


def loss(found: PolicyOutput) -> torch.Tensor:
    """Every loss at once."""
    ones, measured = torch.ones_like(found.logprob_S), found.measured
    return (
        eaft(found.logprob_S, measured[Measure.ENTROPY], ones, alpha=0.7).sum
        + asft(found.logprob_S, measured[Measure.DIVERGENCE], ones, alpha=0.1).sum
        + smoothed(found.logprob_S, measured[Measure.MEAN], ones, factor=0.1).sum
    )


def test_a_model_that_learns_whole_is_measured_from_a_copy() -> None:
    torch.manual_seed(0)
    module, base = tiny("llama", attention=None).train(), tiny("llama", attention=None)
    base.load_state_dict(module.state_dict())
    policy = Policy(module, reference=Policy(base.requires_grad_(False)))
    assert float(policy.forward(some(), EVERY).measured[Measure.DIVERGENCE].detach().abs().max()) < 1e-5
    with torch.no_grad():
        module.get_input_embeddings().weight.mul_(1.5)
    found = policy.forward(some(), EVERY).measured[Measure.DIVERGENCE]
    assert float(found.detach().mean()) > 1e-3
    found.sum().backward()
    assert all(value.grad is None for value in base.parameters())


def test_a_micro_batch_that_learns_nothing_gives_nothing() -> None:
    batch = some()
    empty = Batch(batch.ids_T, np.zeros_like(batch.weight_T), batch.offsets, batch.rows)
    found = Policy(lora()).forward(empty, EVERY)
    assert {len(value) for value in found.measured.values()} == {0}
    assert len(found.measured) == 3


def test_an_even_choice_of_twenty_has_entropy_one_and_certainty_none() -> None:
    logits = torch.full((2, 30), -50.0)
    logits[0, :20] = 0.0
    logits[1, 3] = 50.0
    assert measures.likeliest_entropy(logits.log_softmax(-1)).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        ({}, False), ({"use_dft_loss": True}, True), ({"use_eaft_loss": True}, True), ({"use_asft_loss": True}, True),
        ({"label_smoothing_factor": 0.1}, True), ({"use_eaft_loss": True, "eaft_alpha": 0}, False),
    ],
)  # fmt: skip
def test_the_run_says_which_loss_it_is(given: dict[str, Any], differs: bool) -> None:
    policy, batch = Policy(lora()), some()
    term = objective_of(from_mapping(given, "here"))(policy, batch)["sft"]
    found = policy.forward(batch)
    plain = token_nll(found.logprob_S, torch.from_numpy(batch.weight_T)[found.index_S])
    assert term.count == plain.count
    assert (abs(float(term.sum.detach() - plain.sum.detach())) > 1e-2) is differs


def test_one_loss_at_a_time() -> None:
    for given in (
        {"use_dft_loss": True, "use_eaft_loss": True}, {"use_asft_loss": True, "label_smoothing_factor": 0.1},
    ):  # fmt: skip
        with pytest.raises(LlamaFactoryError) as caught:
            from_mapping(given, "here")
        assert caught.value.id == "config.two-losses"
    assert [one.values["key"] for one in from_mapping({"asft_alpha": 0.2}, "here").notices] == ["asft_alpha"]


# ---- noise and dropout


def noisy(module: Any, alpha: float = 5.0, **given: Any) -> Policy:
    return Policy(module, noise=alpha, **given)


def embedded(policy: Policy, batch: Batch) -> torch.Tensor:
    """What the layers read."""
    seen: list[torch.Tensor] = []
    hook = policy._base.get_input_embeddings().register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    policy.forward(batch)
    hook.remove()
    return torch.cat([one.flatten(0, 1) for one in seen])


@pytest.mark.parametrize("layout", [Layout.PACKED, Layout.PADDED])
def test_each_document_gets_noise_by_its_own_length(layout: Layout) -> None:
    base = tiny("llama", attention=None).train()
    batch = rows((40, 10), common=0)[0]
    clean, dirty = embedded(Policy(base, layout=layout), batch), None
    policy = noisy(base, layout=layout)
    noise = embedded(policy, batch)
    lengths = policy_lengths(batch)
    if layout is Layout.PADDED:
        base.eval()
        clean = embedded(Policy(base, layout=Layout.ROWS), batch)
        base.train()
    dirty = noise - clean
    start = 0
    for length in lengths:
        bound = 5.0 / math.sqrt(length * 32)
        part = dirty[start : start + length].abs()
        assert 0.9 * bound < float(part.max()) <= bound * 1.0001
        assert float(part.mean()) == pytest.approx(bound / 2, rel=0.1)
        start += length
    assert start == len(dirty)


def policy_lengths(batch: Batch) -> tuple[int, ...]:
    from llama_factory.model.layouts import supervised

    return supervised(batch, torch.device("cpu")).lengths_R


def test_there_is_no_noise_in_evaluation_and_none_in_the_comparison() -> None:
    base, batch = tiny("llama", attention=None).train(), some(4)
    policy = noisy(base)
    quiet = Policy(tiny("llama", attention=None).train())
    quiet.module.load_state_dict(base.state_dict())
    assert policy.verify(batch) == pytest.approx(quiet.verify(batch), abs=1e-7)
    base.eval()
    torch.testing.assert_close(policy.forward(batch).logprob_S, quiet.forward(batch).logprob_S)
    base.train()
    assert not torch.allclose(policy.forward(batch).logprob_S, quiet.forward(batch).logprob_S, atol=1e-3)


def test_noise_comes_from_the_generator_that_checkpoints_keep() -> None:
    policy, batch = noisy(tiny("llama", attention=None).train()), some(4)
    torch.manual_seed(3)
    first, second = (policy.forward(batch).logprob_S for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(policy.forward(batch).logprob_S, first)
    assert not torch.equal(first, second)


def test_dropout_of_the_model_is_set_for_training_and_where_there_is_none_it_is_refused(tiny_model: Path) -> None:
    said: list[Any] = []
    module: Any = load.load(tiny_model, dtype="float32", dropout=0.3, say=said.append)
    assert module.config.attention_dropout == 0.3
    assert [one.id for one in said] == ["model.dropout-set"]
    assert module.model.layers[0].self_attn.attention_dropout == 0.3
    policy, batch = Policy(module.train()), some()
    assert not torch.equal(policy.forward(batch).logprob_S, policy.forward(batch).logprob_S)
    module.eval()
    assert torch.equal(policy.forward(batch).logprob_S, policy.forward(batch).logprob_S)
    config = load.load_config(tiny_model)
    del config.attention_dropout
    with pytest.raises(InputError) as caught:
        load.set_dropout(config, 0.3)
    assert caught.value.id == "model.no-dropout"
    assert from_mapping({"dropout": 0.3}, "here").training.noise.model_dropout == 0.3
