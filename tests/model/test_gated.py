"""The gated MLP in one piece: beside transformers' and peft's own, and only where it is the same formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lora_cases import assert_same, drawn, run, teach
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from llama_factory.model import gated, lora, norm
from llama_factory.model.frozen import Frozen
from llama_factory.model.gated import GatedMLP
from llama_factory.model.lora import Adapted
from llama_factory.testing.tiny import tiny_model

ROWS, WIDTH, WIDE = 5, 6, 10


def adapted(
    mlp: Callable[[LlamaConfig], nn.Module] = LlamaMLP,
    *,
    fused: bool = True,
    activation: str = "silu",
    bias: bool = False,
    dropout: float = 0.0,
    targets: tuple[str, ...] = gated.LAYERS,
    dtype: torch.dtype = torch.float64,
    zero: bool = False,
) -> nn.Sequential:
    """One MLP of transformers; each layer's adapter has another rank and another scale. zero: B as it starts."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=WIDE, num_attention_heads=1, hidden_act=activation, mlp_bias=bias
    )
    model = nn.Sequential(mlp(config)).to(dtype).requires_grad_(False)
    settings = LoraConfig(
        r=2, lora_alpha=3, rank_pattern={targets[-2]: 3}, alpha_pattern={targets[-1]: 5}, lora_dropout=dropout,
        target_modules=list(targets),
    )  # fmt: skip
    if fused:
        lora.use_fused(settings, model)
    inject_adapter_in_model(settings, model)
    teach(model, size_a=0.4, size_b=0.0 if zero else 0.4)
    return model


def silu(number: float) -> float:
    return number / (1 + 2.718281828459045**-number)


def test_an_mlp_by_hand():
    def layer(weight: float, a: float, b: float, scale: float) -> Adapted:
        frozen = Frozen(torch.tensor([[weight]], dtype=torch.float64))
        halves = (torch.tensor([[it]], dtype=torch.float64, requires_grad=True) for it in (a, b))
        return Adapted(frozen, None, *halves, scale)

    layers = layer(1.0, 2.0, 3.0, 0.5), layer(2.0, 1.0, 1.0, 1.0), layer(3.0, 0.5, 2.0, 2.0)
    x = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    y = gated._GatedMLP.apply(x, layers, *(it for one in layers for it in (one.a_RI, one.b_OR)))
    gate, up, down = 1 + 0.5 * 2 * 3, 2 + 1 * 1 * 1, 3 + 2 * 0.5 * 2  # each layer with its adapter
    assert y.item() == pytest.approx(down * silu(gate * 0.5) * up * 0.5, abs=1e-14)
    y.backward(torch.tensor([[1.0]], dtype=torch.float64))
    step = 1e-6
    slope = (silu(gate * (0.5 + step)) * (0.5 + step) - silu(gate * (0.5 - step)) * (0.5 - step)) / (2 * step)
    assert float(x.grad) == pytest.approx(down * up * slope, rel=1e-8)
    assert float(layers[2].b_OR.grad) == pytest.approx(2.0 * 0.5 * silu(gate * 0.5) * up * 0.5, abs=1e-14)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(ROWS, WIDTH), (2, ROWS, WIDTH), (1, 1, WIDTH)])
def test_output_and_every_gradient_equal_those_of_transformers_with_peft(shape, bias):
    x = drawn(*shape, seed=1)
    ours, theirs = adapted(bias=bias), adapted(bias=bias, fused=False)
    assert gated.replace(ours) == 1
    assert isinstance(ours[0], GatedMLP)
    assert_same(run(ours, x), run(theirs, x), count=7)


def test_gradients_are_those_that_differences_show():
    sizes = [(WIDE, WIDTH, 2), (WIDE, WIDTH, 3), (WIDTH, WIDE, 1)]
    weights = [Frozen(0.5 * drawn(wide, narrow, seed=n)) for n, (wide, narrow, _) in enumerate(sizes)]
    biases = [drawn(WIDE, seed=20), None, drawn(WIDTH, seed=21)]
    shapes = [(3, WIDTH)] + [it for wide, narrow, rank in sizes for it in ((rank, narrow), (wide, rank))]
    leaves = [(0.5 * drawn(*shape, seed=7 + n)).requires_grad_(True) for n, shape in enumerate(shapes)]

    def through(x: Tensor, *halves: Tensor) -> Tensor:
        parts = zip(weights, biases, halves[::2], halves[1::2], (0.7, 1.0, 2.0), strict=True)
        return gated._GatedMLP.apply(x, tuple(Adapted(*part) for part in parts), *halves)

    assert torch.autograd.gradcheck(through, leaves)


def test_a_gradient_that_nobody_needs_for_x_takes_none_from_the_adapters():
    ours, x = adapted(), drawn(ROWS, WIDTH, seed=1)
    gated.replace(ours)
    _, expected = run(ours, x)
    ours.zero_grad()
    torch.manual_seed(3)
    ours(x).backward(drawn(ROWS, WIDTH, seed=9))
    for name, value in ours.named_parameters():
        if value.requires_grad:
            assert torch.equal(value.grad, expected[name]), name


def test_two_of_the_four_wide_tensors_are_kept_for_the_backward():
    def kept(model: nn.Module) -> int:
        seen: dict[int, Tensor] = {}

        def keep(it: Tensor) -> Tensor:
            seen[it.data_ptr()] = it
            return it

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda it: it):
            model(drawn(ROWS, WIDTH, seed=1).requires_grad_(True))
        return sum(it.shape == (ROWS, WIDE) for it in seen.values())

    ours = adapted()
    assert kept(ours) >= 4
    gated.replace(ours)
    assert kept(ours) == 2


def plain(*, bias: bool = False, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """One MLP of transformers whose weights learn themselves."""
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=WIDTH, intermediate_size=WIDE, num_attention_heads=1, mlp_bias=bias)
    return nn.Sequential(LlamaMLP(config)).to(dtype)


@pytest.mark.parametrize("shape", [(ROWS, WIDTH), (2, ROWS, WIDTH)])
@pytest.mark.parametrize("learning", [gated.LAYERS, ("up_proj",), ("down_proj",), ("gate_proj",), ()])
def test_an_mlp_without_adapters_equals_that_of_transformers(shape, learning):
    results = []
    for replaced in (True, False):
        model = plain()
        for name, value in model.named_parameters():
            value.requires_grad_(name.split(".")[1] in learning)
        assert not replaced or gated.replace(model) == 1
        results.append(run(model, drawn(*shape, seed=1)))
    assert_same(*results, count=1 + len(learning))


def test_gradients_of_an_mlp_without_adapters_are_those_that_differences_show():
    shapes = (3, WIDTH), (WIDE, WIDTH), (WIDE, WIDTH), (WIDTH, WIDE)
    leaves = [(0.5 * drawn(*shape, seed=n)).requires_grad_(True) for n, shape in enumerate(shapes)]
    assert torch.autograd.gradcheck(gated._PlainGatedMLP.apply, leaves)


def test_an_mlp_without_adapters_keeps_half_of_the_wide_tensors_too():
    def kept(model: nn.Module) -> int:
        seen: dict[int, Tensor] = {}
        with torch.autograd.graph.saved_tensors_hooks(lambda it: seen.setdefault(it.data_ptr(), it), lambda it: it):
            model(drawn(ROWS, WIDTH, seed=1).requires_grad_(True))
        return sum(it.shape == (ROWS, WIDE) for it in seen.values())

    ours = plain()
    assert kept(ours) >= 4
    gated.replace(ours)
    assert kept(ours) == 2


def test_an_mlp_without_adapters_and_with_biases_is_left_alone():
    assert gated.replace(plain(bias=True)) == 0


def test_an_mlp_without_adapters_is_transformers_own_under_autocast():
    ours, theirs = plain(dtype=torch.float32), plain(dtype=torch.float32)
    assert gated.replace(ours) == 1
    x = drawn(ROWS, WIDTH, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, other = ours(x), theirs(x)
    assert one.dtype == other.dtype == torch.bfloat16
    assert torch.equal(one, other)


def whole(*, replaced: bool, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A tiny llama with adapters on all layers."""
    model = tiny_model("llama", attention=None).to(dtype).requires_grad_(False)
    config = LoraConfig(r=2, target_modules=[*gated.LAYERS, "q_proj", "k_proj", "v_proj", "o_proj"])
    if replaced:
        lora.use_fused(config, model)
    torch.manual_seed(0)
    inject_adapter_in_model(config, model)
    for number, (name, value) in enumerate(model.named_parameters()):
        if "lora_B" in name:
            value.data = 0.1 * drawn(*value.shape, seed=number, dtype=dtype)
    if replaced:
        names = [name for name, _ in model.named_parameters()]
        assert gated.replace(model) == 2
        assert gated.replace(model) == 0
        assert [name for name, _ in model.named_parameters()] == names
    return model


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_whole_model_learns_the_same_from_both(checkpointing):
    ids = torch.randint(3, 60, (2, 11), generator=torch.Generator().manual_seed(0))
    results = []
    for replaced in (True, False):
        model = whole(replaced=replaced).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        results.append((loss.item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}))
    (our_loss, ours), (loss, gradients) = results
    assert abs(our_loss - loss) < 1e-6
    assert ours.keys() == gradients.keys()
    assert len(ours) == 28
    for name, gradient in gradients.items():
        assert (ours[name] - gradient).norm() < 1e-5 * gradient.norm(), name


def test_norms_layers_and_mlps_of_ours_stand_in_one_model():
    model = whole(replaced=True)
    assert norm.replace(model) == 5
    assert lora.join(model) == 2
    assert sum(isinstance(module, GatedMLP) for module in model.modules()) == 2


def test_in_bf16_the_two_are_rounding_apart():
    x = drawn(40, WIDTH, seed=1, dtype=torch.bfloat16)
    ours, theirs = adapted(dtype=torch.bfloat16), adapted(dtype=torch.bfloat16, fused=False)
    assert gated.replace(ours) == 1
    (y, found), (expected, gradients) = run(ours, x), run(theirs, x)
    assert y.dtype == expected.dtype == torch.bfloat16
    assert (y - expected).norm() < 0.02 * expected.norm()
    assert len(found) == 7
    for name, gradient in gradients.items():
        assert (found[name] - gradient).norm() < 0.02 * gradient.norm(), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh", "relu", "relu2", "sigmoid", "quick_gelu"])
def test_another_activation_is_another_formula(activation, dtype):
    model = adapted(activation=activation, dtype=dtype)
    before = model[0]
    assert gated.replace(model) == 0
    assert model[0] is before


class Swapped(LlamaMLP):
    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gate_proj(x) * self.act_fn(self.up_proj(x)))


class Residual(LlamaMLP):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Unlearning(LlamaMLP):
    """The right number, and a gradient that goes through one half alone."""

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x.detach()))


class Scaled(LlamaMLP):
    """A number of its own, at its neutral value today."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


class Normed(LlamaMLP):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.norm, self.also = nn.Identity(), nn.Identity()


class WithoutName(LlamaMLP):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        del self.act_fn

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class OfTwo(LlamaMLP):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return super().forward(x) * scale


@pytest.mark.parametrize("other", [Swapped, Residual, Unlearning, Scaled, Normed, WithoutName, OfTwo])
def test_what_is_another_formula_or_has_more_to_it_is_left_alone(other):
    model = adapted(other)
    before = model[0]
    assert gated.replace(model) == 0
    assert model[0] is before


@pytest.mark.parametrize("targets", [("gate_proj", "up_proj"), ("up_proj", "down_proj"), ("gate_proj", "down_proj")])
def test_an_mlp_of_which_a_layer_has_no_adapter_is_left_alone(targets):
    assert gated.replace(adapted(targets=targets)) == 0


def test_layers_that_peft_built_are_left_alone():
    assert gated.replace(adapted(fused=False)) == 0


def test_an_mlp_on_which_something_hangs_is_left_alone():
    model = adapted()
    handle = model[0].register_forward_hook(lambda *words: None)
    assert gated.replace(model) == 0
    handle.remove()
    assert gated.replace(model) == 1


@pytest.mark.parametrize("part", ["gate_proj", "up_proj", "down_proj", "act_fn"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_hangs_on_a_part_of_the_mlp_is_called(part, when):
    model, called = adapted(), []
    if when == "after":
        gated.replace(model)
    model[0].get_submodule(part).register_forward_hook(lambda *words: called.append(part))
    if when == "before":
        gated.replace(model)
        called.clear()
    model(drawn(ROWS, WIDTH, seed=1))
    assert called == [part]


def test_gemma_keeps_its_own_mlps_and_qwen3_gets_ours():
    for kind, expected in (("gemma", 0), ("qwen3", 2)):
        model = tiny_model(kind).requires_grad_(False)
        config = LoraConfig(r=2, target_modules=list(gated.LAYERS))
        lora.use_fused(config, model)
        inject_adapter_in_model(config, model)
        assert gated.replace(model) == expected, kind


@pytest.mark.parametrize("change", ["off", "merged", "dropout", "two", "autocast", "base trained"])
def test_what_is_left_to_peft_gives_what_peft_gives(change):
    results = []
    for fused in (True, False):
        dtype = torch.float32 if change == "autocast" else torch.float64
        model = adapted(fused=fused, dropout=0.5 if change == "dropout" else 0.0, dtype=dtype).eval()
        assert gated.replace(model) == fused
        for layer in (getattr(model[0], name) for name in gated.LAYERS):
            if change == "off":
                layer.enable_adapters(False)
            elif change == "merged":
                layer.merge()
            elif change == "base trained":
                layer.base_layer.weight.requires_grad_(True)
        if change == "two":
            config = LoraConfig(r=1, target_modules=["up_proj"], init_lora_weights=False)
            torch.manual_seed(5)
            with pytest.warns(UserWarning, match="multiple adapters"):
                inject_adapter_in_model(config, model, adapter_name="second")
            model[0].up_proj.set_adapter(["default", "second"])
        torch.manual_seed(4)
        x = drawn(ROWS, WIDTH, seed=1, dtype=dtype).requires_grad_(True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=change == "autocast"):
            y = model.train()(x)
        leaves = [x, *(it for it in model.parameters() if it.requires_grad)]
        gradients = torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)
        results.append([y, *(it for it in gradients if it is not None)])
    assert len(results[0]) == len(results[1]) == {"off": 2, "merged": 2, "base trained": 11, "two": 6}.get(change, 8)
    rounding = 1e-12 if change == "two" else 0  # two adapters are computed as one, with other sums in between
    assert all(torch.allclose(one, other, rtol=0, atol=rounding) for one, other in zip(*results, strict=True))


def test_dropout_draws_what_it_draws_in_peft_and_leaves_the_one_piece_for_later():
    model, theirs, x = adapted(dropout=0.5, zero=True), adapted(dropout=0.5, fused=False), drawn(ROWS, WIDTH, seed=1)
    assert gated.replace(model.train()) == 1
    model.load_state_dict(theirs.state_dict())
    (y, found), (expected, gradients) = run(model, x), run(theirs.train(), x)
    assert torch.equal(y, expected)
    assert all(torch.equal(found[name], gradient) for name, gradient in gradients.items())
    assert torch.allclose(model.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)
    assert not torch.allclose(model(x), y)


def by_dropout(model: nn.Module, layer: nn.Module) -> None:
    model.train()


def by_switch(model: nn.Module, layer: nn.Module) -> None:
    layer.enable_adapters(False)


def by_merging(model: nn.Module, layer: nn.Module) -> None:
    layer.merge()


@pytest.mark.parametrize("silenced", [by_dropout, by_switch, by_merging])
def test_another_activation_is_found_although_the_one_piece_is_not_at_work(silenced):
    model = adapted(activation="gelu", dropout=0.5, zero=True).eval()
    theirs, x = adapted(activation="gelu", fused=False, zero=True), drawn(ROWS, WIDTH, seed=1)
    silenced(model, model[0].up_proj)
    gated.replace(model)
    model.eval()
    if silenced is by_merging:
        model[0].up_proj.unmerge()
    model[0].up_proj.enable_adapters(True)
    assert torch.allclose(model(x), theirs.eval()(x), rtol=0, atol=1e-12)
