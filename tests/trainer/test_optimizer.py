"""Masters and AdamW: by hand, against torch and transformers, and what bf16 would lose without them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from trainer_toys import Toy
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Trainer

from llama_factory.errors import InputError
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.optimizers import Optimizer, decayed
from llama_factory.trainer.plan import FitPlan


def only(value: Tensor, **plan: object) -> tuple[Masters, Optimizer, nn.Parameter]:
    module = nn.Module()
    module.weight = nn.Parameter(value)
    masters = Masters({"weight": module.weight})
    return masters, Optimizer(masters, module, FitPlan(**plan)), module.weight  # type: ignore[arg-type]


def test_one_update_worked_by_hand() -> None:
    """Step 1 of AdamW: both moments divide out to the gradient's sign; decay pulls by lr * wd * w."""
    masters, optimizer, weight = only(torch.tensor([1.0]), weight_decay=0.1)
    weight.grad = torch.tensor([0.25])
    optimizer.step(0.01)
    assert weight.item() == pytest.approx(1.0 - 0.01 * 0.1 * 1.0 - 0.01 * 0.25 / (0.25 + 1e-8), rel=1e-6)
    assert masters.values["weight"] is weight


def test_twenty_updates_equal_torchs_unfused_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    _, optimizer, weight = only(start.clone(), weight_decay=0.1, adam_beta2=0.95, adam_epsilon=1e-6)
    plain = nn.Parameter(start.clone())
    reference = torch.optim.AdamW(
        [plain], lr=1.0, weight_decay=0.1, betas=(0.9, 0.95), eps=1e-6, fused=False, foreach=False
    )
    for step in range(20):
        gradient = torch.randn(5, 3, generator=generator)
        rate = 1e-2 * (20 - step) / 20
        reference.param_groups[0]["lr"] = rate
        weight.grad, plain.grad = gradient.clone(), gradient.clone()
        optimizer.step(rate)
        reference.step()
    torch.testing.assert_close(weight, plain, rtol=1e-6, atol=1e-7)


def test_weight_decay_pulls_on_the_same_weights_as_in_transformers() -> None:
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    models: list[nn.Module] = [
        LlamaForCausalLM(LlamaConfig(vocab_size=16, attention_bias=True, **tiny)),
        GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=2)),
        Toy(dropout=0.0),
    ]
    for model in models:
        names = [name for name, _ in model.named_parameters()]
        theirs = set(Trainer.get_decay_parameter_names(None, model))  # type: ignore[arg-type]
        ours = decayed(model, names)
        assert set(ours) == theirs & set(names)
        assert 0 < len(ours) < len(names)


def test_a_bf16_weight_keeps_updates_that_bf16_alone_would_round_away() -> None:
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    with Masters({"weight": module.weight}) as masters:
        optimizer = Optimizer(masters, module, FitPlan())
        for _ in range(100):
            module.weight.float().sum().backward()
            optimizer.step(1e-4)
            masters.forget_gradients()
            masters.to_working()
        assert masters.values["weight"].dtype == torch.float32
        assert masters.values["weight"][0].item() == pytest.approx(1.0 - 100 * 1e-4, rel=1e-4)
    assert module.weight[0].item() == pytest.approx(0.99, abs=2**-9)
    alone = torch.ones(1, dtype=torch.bfloat16)
    for _ in range(100):
        alone -= 1e-4
    assert alone.item() == 1.0


def test_bf16_gradients_of_micro_batches_are_summed_in_fp32() -> None:
    weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    with Masters({"weight": weight}) as masters:
        for _ in range(1000):
            (weight * 0.25).sum().backward()
        assert weight.grad is None
        assert masters.gradients()["weight"].dtype == torch.float32
        assert masters.gradient_norm() == 250.0
    plain = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    for _ in range(1000):
        (plain * 0.25).sum().backward()
    assert plain.grad is not None
    assert plain.grad.item() < 100  # bf16 stops counting where a quarter is less than half its last bit


def test_after_the_run_the_parameters_collect_gradients_as_before() -> None:
    weight = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    with Masters({"weight": weight}):
        weight.sum().backward()
        assert weight.grad is None
    weight.sum().backward()
    assert weight.grad is not None


def test_pure_bf16_has_no_second_copy() -> None:
    weight = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    assert Masters({"weight": weight}, master_dtype="bfloat16").values["weight"] is weight


def test_clipping_scales_to_the_largest_norm_and_leaves_smaller_ones_alone() -> None:
    masters, _, weight = only(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert masters.gradient_norm() == 5.0
    masters.clip(5.0, 10.0)
    assert weight.grad.tolist() == [3.0, 4.0]
    masters.clip(5.0, 0.0)
    assert weight.grad.tolist() == [3.0, 4.0]
    masters.clip(5.0, 1.0)
    assert math.dist(weight.grad.tolist(), [0.6, 0.8]) < 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_seen_wherever_it_stands(value: float) -> None:
    for place in (0, 17, 63):
        masters, _, weight = only(torch.randn(64))
        assert masters.finite()
        with torch.no_grad():
            weight[place] = value
        assert not masters.finite()


def test_the_norm_is_that_of_all_gradients_laid_end_to_end() -> None:
    toy = Toy(dropout=0.0)
    toy(torch.arange(9)).square().sum().backward()
    masters = Masters(dict(toy.named_parameters()))
    flat = torch.cat([p.grad.flatten() for p in toy.parameters() if p.grad is not None])
    assert masters.gradient_norm() == pytest.approx(flat.norm().item(), rel=1e-6)
    assert len(masters.gradients()) == len(list(toy.parameters()))


def test_the_state_goes_out_and_in_as_named_tensors_without_the_weights_noticing() -> None:
    def run(steps: range, state: dict[str, Tensor] | None, start: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        _, optimizer, weight = only(start.clone())
        if state:
            optimizer.load(state)
        for step in steps:
            weight.grad = torch.sin(torch.arange(4.0) + step)
            optimizer.step(1e-2)
        return weight.detach(), {name: tensor.clone() for name, tensor in optimizer.state()[0].items()}

    whole, _ = run(range(6), None, torch.ones(4))
    half, state = run(range(3), None, torch.ones(4))
    assert sorted(state) == ["exp_avg/weight", "exp_avg_sq/weight", "step/weight"]
    assert torch.equal(run(range(3, 6), state, half)[0], whole)


def test_a_weight_that_no_step_touched_has_no_state_and_no_decay() -> None:
    module = nn.Module()
    module.used, module.idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    masters = Masters({"used": module.used, "idle": module.idle})
    optimizer = Optimizer(masters, module, FitPlan(weight_decay=0.5))
    module.used.sum().backward()
    optimizer.step(0.1)
    assert module.idle.tolist() == [1.0, 1.0]
    assert sorted(optimizer.state()[0]) == ["exp_avg/used", "exp_avg_sq/used", "step/used"]


def test_nothing_trainable_and_fp16_weights_are_refused() -> None:
    with pytest.raises(InputError, match="no weight of the model is trainable"):
        Masters({})
    with pytest.raises(InputError, match="fp16") as caught:
        Masters({"head": nn.Parameter(torch.zeros(1, dtype=torch.float16))})
    assert caught.value.where == "head"
