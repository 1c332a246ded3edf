"""Weights laid out for the processor: the same bits as the plain product, and noticed when they change."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from llama_factory import machine
from llama_factory.model import frozen, lora, upstream
from llama_factory.model.frozen import SHARE, Frozen, lay_out
from llama_factory.model.policy import Policy
from llama_factory.testing.prove import rows
from llama_factory.testing.tiny import tiny_model

if not upstream.can_lay_out():
    pytest.skip("this torch has no oneDNN to lay a weight out for", allow_module_level=True)
if not machine.describe().computes_bf16:
    pytest.skip("this processor does not compute bf16", allow_module_level=True)

SHAPES = [(96, 64), (64, 96), (65, 131), (192, 576), (576, 192), (1536, 576)]
"""torch computes a product of up to 16 * 16 * 16 numbers without oneDNN, and may round it otherwise; all are larger."""

PLENTY = 2**50


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What was multiplied with a weight laid out."""
    seen: list[torch.Tensor] = []
    theirs = upstream.linear_laid_out

    def counted(x: torch.Tensor, weight: torch.Tensor, onto: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(x)
        return theirs(x, weight, onto)

    monkeypatch.setattr(upstream, "linear_laid_out", counted)
    return seen


@pytest.mark.parametrize("count", [1, 37, 300, 1289])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_directions_give_the_bits_of_the_plain_product(shape, count, products):
    weight = drawn(*shape, seed=0)
    laid = Frozen(weight)
    laid.lay_out()
    x, dy = drawn(count, shape[1], seed=1), drawn(count, shape[0], seed=2)
    assert torch.equal(laid.through(x), x @ weight.t())
    assert torch.equal(laid.back(dy), dy @ weight)
    before = drawn(count, shape[1], seed=3)
    onto = before.clone()
    assert torch.equal(laid.back(dy, onto), torch.addmm(onto, dy, weight))
    assert torch.equal(onto, before)
    assert len(products) == 3


def test_before_it_is_laid_out_the_plain_product_is_taken(products):
    weight, x, dy = drawn(96, 64, seed=0), drawn(5, 64, seed=1), drawn(5, 96, seed=2)
    assert torch.equal(Frozen(weight).through(x), x @ weight.t())
    assert torch.equal(Frozen(weight).back(dy), dy @ weight)
    assert not products


def test_rows_that_do_not_lie_one_after_the_other_are_multiplied_all_the_same(products):
    weight = drawn(96, 64, seed=0)
    laid = Frozen(weight)
    laid.lay_out()
    turned, repeated, cut = (
        drawn(64, 37, seed=1).t(),
        drawn(1, 64, seed=2).expand(37, 64),
        drawn(37, 80, seed=3)[:, :64],
    )
    for x in (turned, repeated, cut):
        assert torch.equal(laid.through(x), x @ weight.t())
    assert len(products) == 3


def changed_in_place(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.mul_(2)


def exchanged(weight: nn.Parameter) -> None:
    weight.data = drawn(*weight.shape, seed=7)


def in_another_format(weight: nn.Parameter) -> None:
    weight.data = weight.data.float()


@pytest.mark.parametrize(
    "change",
    [
        changed_in_place,
        exchanged,
        in_another_format,
    ],
)
def test_a_weight_that_changes_afterwards_is_noticed(change, products):
    weight = nn.Parameter(drawn(96, 64, seed=0), requires_grad=False)
    laid = Frozen(weight)
    laid.lay_out()
    change(weight)
    x, dy = drawn(37, 64, seed=1, dtype=weight.dtype), drawn(37, 96, seed=2, dtype=weight.dtype)
    assert torch.equal(laid.through(x), x @ weight.t())
    assert torch.equal(laid.back(dy), dy @ weight)
    assert not products


def test_a_weight_may_be_laid_out_again(products):
    weight = nn.Parameter(drawn(96, 64, seed=0), requires_grad=False)
    laid = Frozen(weight)
    laid.lay_out()
    changed_in_place(weight)
    laid.lay_out()
    x = drawn(37, 64, seed=1)
    assert torch.equal(laid.through(x), x @ weight.t())
    assert len(products) == 1


def test_two_more_orders_of_each_weight_may_take_one_part_in_eight_of_what_is_free(products):
    weights = [Frozen(drawn(96, 64, seed=0)), Frozen(drawn(64, 96, seed=1))]
    takes = 2 * 2 * (2 * 96 * 64)
    x = drawn(37, 64, seed=2)
    assert lay_out(weights, SHARE * takes - 1) == 0
    weights[0].through(x)
    assert not products
    assert lay_out(weights, SHARE * takes) == takes
    weights[0].through(x)
    assert len(products) == 1


def exact() -> torch.Tensor:
    return drawn(96, 64, seed=0, dtype=torch.float32)


def half_of_another_kind() -> torch.Tensor:
    return drawn(96, 64, seed=0, dtype=torch.float16)


def learning() -> torch.Tensor:
    return drawn(96, 64, seed=0).requires_grad_(True)


def of_three_axes() -> torch.Tensor:
    return drawn(2, 96, 64, seed=0)


@pytest.mark.parametrize("other", [exact, half_of_another_kind, learning, of_three_axes])
def test_one_weight_that_may_not_be_laid_out_leaves_all_as_they_are(other, products):
    fit = Frozen(drawn(96, 64, seed=1))
    assert lay_out([fit, Frozen(other())], PLENTY) == 0
    fit.through(drawn(37, 64, seed=2))
    assert not products
    assert lay_out([fit], PLENTY) == 2 * 2 * 96 * 64


def test_a_torch_that_cannot_lay_out_leaves_all_as_they_are(monkeypatch):
    monkeypatch.setattr(upstream, "can_lay_out", lambda: False)
    assert lay_out([Frozen(drawn(96, 64, seed=0))], PLENTY) == 0


def test_a_copy_has_a_weight_of_its_own_and_is_not_laid_out(products):
    laid = Frozen(drawn(96, 64, seed=0))
    laid.lay_out()
    other, x = copy.deepcopy(laid), drawn(37, 64, seed=1)
    assert torch.equal(other.through(x), laid.through(x))
    assert len(products) == 1
    other.weight_OI.mul_(2)
    assert torch.equal(other.through(x), 2 * laid.through(x))


def adapted(model: nn.Module) -> nn.Module:
    model.requires_grad_(False)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    config.target_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora.use_fused(config, model)
    inject_adapter_in_model(config, model)
    return model.bfloat16()


def test_a_copy_of_a_laid_out_layer_computes_with_its_own_weight(products):
    model = adapted(tiny_model("llama", attention=None))
    layer = model.model.layers[0].mlp.gate_proj
    assert lay_out([layer.frozen], PLENTY) > 0
    x = drawn(37, 32, seed=1)
    with torch.no_grad():
        before = layer(x)
        assert len(products) == 1
        other = copy.deepcopy(layer)
        assert torch.equal(other(x), before)
        other.base_layer.weight.zero_()
        assert not torch.equal(other(x), before)
        assert torch.equal(layer(x), before)
    assert other.frozen.weight_OI is other.base_layer.weight


def learned(policy: Policy) -> tuple[torch.Tensor, list[torch.Tensor]]:
    batch, grad_S = rows((9, 2, 14, 8), common=6)
    logprob_S = policy.forward(batch).logprob_S
    return logprob_S, list(torch.autograd.grad((logprob_S * grad_S).sum(), list(policy.trainable().values())))


def test_a_policy_laid_out_gives_the_same_bits_and_the_same_gradients(products):
    policy = Policy(adapted(tiny_model("llama", attention=None)))
    before, gradients = learned(policy)
    assert not products
    weights = [p for n, p in policy.module.named_parameters() if n.endswith("base_layer.weight") or "lm_head" in n]
    assert len(weights) == 2 * 7 + 1
    assert policy.lay_out(PLENTY) == 2 * 2 * sum(it.numel() for it in weights)
    after, more = learned(policy)
    assert torch.equal(after, before)
    assert len(more) == 2 * 2 * 7
    assert all(torch.equal(one, other) for one, other in zip(more, gradients, strict=True))
    assert len(products) >= 2 * len(weights) - 3  # there and back; nobody needs what the first three give back


def test_a_policy_lays_out_nothing_where_the_head_learns_or_no_layer_is_ours():
    model = adapted(tiny_model("llama", attention=None))
    model.lm_head.weight.requires_grad_(True)
    assert Policy(model).lay_out(PLENTY) == 0
    assert Policy(tiny_model("llama", attention=None).bfloat16().requires_grad_(False)).lay_out(PLENTY) == 0
    assert Policy(adapted(tiny_model("llama", attention=None)).float()).lay_out(PLENTY) == 0
    assert Policy(adapted(tiny_model("llama", attention=None)), table={}).lay_out(PLENTY) == 0


def test_the_order_is_chosen_for_as_many_rows_as_a_step_has():
    assert frozen.ROWS >= 512
