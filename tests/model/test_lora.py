"""The LoRA layer in one piece: by hand, beside peft's own, and wherever peft must do it itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from llama_factory.model import adapters, lora
from llama_factory.testing.tiny import tiny_model

ROWS, IN, OUT, RANK = 5, 6, 4, 2


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Two(nn.Module):
    """A layer with a bias, one without, a number between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(IN, OUT), nn.Linear(OUT, IN, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(*, fused: bool, dtype: torch.dtype = torch.float64, dropout: float = 0.0, **more: object) -> Two:
    torch.manual_seed(0)
    model = Two().to(dtype).requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=3, lora_dropout=dropout, target_modules=["first", "second"], **more)
    if fused:
        lora.use_fused(config, model)
    inject_adapter_in_model(config, model)
    for number, (name, value) in enumerate(sorted(model.named_parameters())):
        if "lora_" in name:
            value.data = drawn(*value.shape, seed=number, dtype=dtype)
            value.requires_grad_(True)
    return model


def run(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    x = x.clone().requires_grad_(True)
    out = model(x)
    out.backward(drawn(*out.shape, seed=9, dtype=out.dtype))
    found = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert all(value.grad is None for value in model.parameters() if not value.requires_grad)
    return out, {**found, "x": x.grad}


def test_a_layer_by_hand():
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    weight, bias = torch.tensor([[3.0, 4.0]]), torch.tensor([5.0])
    a, b = torch.tensor([[6.0, 7.0]], requires_grad=True), torch.tensor([[8.0]], requires_grad=True)
    y = lora.lora_linear(x, weight, bias, a, b, 0.5)
    assert y.tolist() == [[3 + 8 + 5 + 0.5 * 8 * (6 + 14)]]
    y.backward(torch.tensor([[2.0]]))
    assert x.grad.tolist() == [[2 * (3 + 0.5 * 8 * 6), 2 * (4 + 0.5 * 8 * 7)]]
    assert a.grad.tolist() == [[2 * 0.5 * 8 * 1, 2 * 0.5 * 8 * 2]]
    assert b.grad.tolist() == [[2 * 0.5 * 20]]


@pytest.mark.parametrize("shape", [(ROWS, IN), (2, ROWS, IN), (1, 1, IN)])
def test_output_and_every_gradient_equal_those_of_peft(shape):
    x = drawn(*shape, seed=1)
    ours, theirs = run(adapted(fused=True), x), run(adapted(fused=False), x)
    assert torch.allclose(ours[0], theirs[0], rtol=0, atol=1e-12)
    assert ours[1].keys() == theirs[1].keys()
    assert len(ours[1]) == 5
    for name, gradient in theirs[1].items():
        assert torch.allclose(ours[1][name], gradient, rtol=0, atol=1e-12), name


def test_gradients_are_those_that_differences_show():
    leaves = [
        drawn(*shape, seed=n).requires_grad_(True) for n, shape in enumerate([(ROWS, IN), (RANK, IN), (OUT, RANK)])
    ]
    weight, bias = drawn(OUT, IN, seed=7), drawn(OUT, seed=8)
    assert torch.autograd.gradcheck(lambda x, a, b: lora.lora_linear(x, weight, bias, a, b, 0.7), leaves)


def test_the_fused_layer_is_in_place_and_keeps_the_names_of_peft():
    ours, theirs = adapted(fused=True), adapted(fused=False)
    assert isinstance(ours.first, lora.FusedLinear)
    assert not isinstance(theirs.first, lora.FusedLinear)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def by_peft(model: Two) -> bool:
    return model.first._only_adapter(torch.zeros(1, IN, dtype=model.first.weight.dtype)) is None


def test_what_peft_alone_knows_is_left_to_peft():
    model = adapted(fused=True)
    assert not by_peft(model)
    model.first.enable_adapters(False)
    assert by_peft(model)
    model.first.enable_adapters(True)
    handle = model.first.base_layer.register_forward_hook(lambda *words: None)
    assert by_peft(model)
    handle.remove()
    assert not by_peft(model)
    model.first.merge()
    assert by_peft(model)
    model.first.unmerge()
    model.first.base_layer.weight.requires_grad_(True)
    assert by_peft(model)
    dropping = adapted(fused=True, dropout=0.5)
    assert by_peft(dropping.train())
    assert not by_peft(dropping.eval())
    assert by_peft(adapted(fused=True, use_dora=True))
    mixed = adapted(fused=True, dtype=torch.bfloat16)
    assert not by_peft(mixed)
    mixed.first.lora_A["default"].float()
    assert by_peft(mixed)


@pytest.mark.parametrize("change", ["off", "merged", "dropout", "two"])
def test_what_is_left_to_peft_gives_what_peft_gives(change):
    results = []
    for fused in (True, False):
        model = adapted(fused=fused, dropout=0.5 if change == "dropout" else 0.0)
        for layer in (model.first, model.second):
            if change == "off":
                layer.enable_adapters(False)
            elif change == "merged":
                layer.merge()
        if change == "two":
            config = LoraConfig(r=1, target_modules=["first"], init_lora_weights=False)
            torch.manual_seed(5)
            with pytest.warns(UserWarning, match="multiple adapters"):
                inject_adapter_in_model(config, model, adapter_name="second")
            model.first.set_adapter(["default", "second"])
        torch.manual_seed(4)
        results.append(model.train()(drawn(ROWS, IN, seed=1)))
    assert torch.equal(*results)


def test_autocast_is_left_to_peft():
    model = adapted(fused=True, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert by_peft(model)


def test_a_model_with_a_layer_that_is_more_than_linear_is_built_by_peft():
    class Packed(nn.Linear):
        """Stands for a quantised layer: a linear one by type, and not by what it computes."""

    model = Two()
    model.first = Packed(IN, OUT)
    config = LoraConfig(target_modules=["first", "second"])
    lora.use_fused(config, model)
    inject_adapter_in_model(config, model)
    assert not any(isinstance(module, lora.FusedLinear) for module in model.modules())


@pytest.mark.parametrize("fused", [True, False])
def test_whoever_attaches_decides(fused):
    model = tiny_model("llama")
    settings = SimpleNamespace(
        lora_target=("all",), lora_rank=2, alpha=4, lora_dropout=0.0
    )  # fmt: skip
    method = SimpleNamespace(finetuning_type="lora", lora=settings)
    adapters.attach(model, method, compute_dtype="float32", seed=0, fused=fused)
    assert any(isinstance(module, lora.FusedLinear) for module in model.modules()) is fused


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_whole_model_learns_the_same_from_both(checkpointing):
    gradients = []
    for fused in (True, False):
        model = tiny_model("llama").train()
        settings = SimpleNamespace(lora_target=("all",), lora_rank=2, alpha=4, lora_dropout=0.0)
        adapters.attach(
            model, SimpleNamespace(finetuning_type="lora", lora=settings), compute_dtype="float32", seed=0, fused=fused
        )
        for number, (name, value) in enumerate(model.named_parameters()):
            if "lora_B" in name:
                value.data = 0.1 * drawn(*value.shape, seed=number, dtype=torch.float32)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        ids = torch.randint(3, 60, (2, 11), generator=torch.Generator().manual_seed(0))
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) >= 28
    for name, gradient in gradients[1].items():
        difference = (gradients[0][name] - gradient).norm() / gradient.norm()
        assert difference < 1e-5, name
