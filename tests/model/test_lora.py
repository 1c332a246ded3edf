"""The LoRA layer in one piece: by hand, beside peft's own, and wherever peft must do it itself."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from lora_cases import assert_same, drawn, run, teach
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from llama_factory.config.sections.adapters import Lora
from llama_factory.config.sections.method import Method
from llama_factory.model import adapters, gated, lora, norm, upstream
from llama_factory.model.frozen import Frozen
from llama_factory.model.lora import Adapted, FusedLinear
from llama_factory.model.methods import Start
from llama_factory.testing.tiny import tiny_model

ROWS, IN, OUT, RANK = 5, 6, 4, 2


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
    teach(model)
    return model


def test_a_layer_by_hand():
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    weight, bias = torch.tensor([[3.0, 4.0]]), torch.tensor([5.0])
    a, b = torch.tensor([[6.0, 7.0]], requires_grad=True), torch.tensor([[8.0]], requires_grad=True)
    y = lora.lora_linear(x, Adapted(Frozen(weight), bias, a, b, 0.5))
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
    frozen = Frozen(weight)
    assert torch.autograd.gradcheck(lambda x, a, b: lora.lora_linear(x, Adapted(frozen, bias, a, b, 0.7)), leaves)


def test_gradients_of_layers_together_are_those_that_differences_show():
    sizes = [(OUT, 2, 0.7), (3, 1, 1.0), (OUT, 3, 2.0)]
    weights = [Frozen(drawn(out, IN, seed=20 + n)) for n, (out, _, _) in enumerate(sizes)]
    biases = [drawn(OUT, seed=30), None, drawn(OUT, seed=31)]
    shapes = [(2, 2, IN), *(it for out, rank, _ in sizes for it in ((rank, IN), (out, rank)))]
    leaves = [drawn(*shape, seed=n).requires_grad_(True) for n, shape in enumerate(shapes)]

    def through(x: torch.Tensor, *halves: torch.Tensor) -> list[torch.Tensor]:
        parts = zip(weights, biases, halves[::2], halves[1::2], (scale for _, _, scale in sizes), strict=True)
        return lora.lora_linears(x, [Adapted(*part) for part in parts])

    assert torch.autograd.gradcheck(lambda *leaves: tuple(through(*leaves)), leaves)


def test_an_adapter_that_changes_before_the_backward_is_an_error():
    model, x = adapted(fused=True), drawn(ROWS, IN, seed=1)
    y = model(x)
    with torch.no_grad():
        model.first.lora_B["default"].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_the_fused_layer_is_in_place_and_keeps_the_names_of_peft():
    ours, theirs = adapted(fused=True), adapted(fused=False)
    assert isinstance(ours.first, lora.FusedLinear)
    assert not isinstance(theirs.first, lora.FusedLinear)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def by_peft(model: Two) -> bool:
    return not model.first._at_work(torch.zeros(1, IN, dtype=model.first.weight.dtype))


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


@pytest.mark.parametrize("change", ["off", "merged", "dropout"])
def test_what_is_left_to_peft_gives_what_peft_gives(change):
    results = []
    for fused in (True, False):
        model = adapted(fused=fused, dropout=0.5 if change == "dropout" else 0.0)
        for layer in (model.first, model.second):
            if change == "off":
                layer.enable_adapters(False)
            elif change == "merged":
                layer.merge()
        torch.manual_seed(4)
        results.append(model.train()(drawn(ROWS, IN, seed=1)))
    assert torch.equal(*results)


@pytest.mark.parametrize("alpha", [3, 5])
@pytest.mark.parametrize("learning", [("default",), ("default", "second")])
def test_several_adapters_compute_as_one_and_each_has_its_own_gradient(alpha, learning):
    results = []
    for fused in (True, False):
        model = adapted(fused=fused)
        config = LoraConfig(r=3, lora_alpha=alpha, target_modules=["first"])
        with pytest.warns(UserWarning, match="multiple adapters"):
            inject_adapter_in_model(config, model, adapter_name="second")
        model.first.set_adapter(["default", "second"])
        model.second.set_adapter("default")
        teach(model.double())
        for name, value in model.named_parameters():
            value.requires_grad_(any(f".{one}." in name for one in learning))
        results.append(run(model, drawn(ROWS, IN, seed=1)))
        assert not fused or not by_peft(model)
    assert_same(*results, count=2 * len(learning) + 2 + 1)


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
    adapters.attach(model, Method(lora=Lora(lora_rank=2)), Start("float32", 0, fused))
    assert any(isinstance(module, lora.FusedLinear) for module in model.modules()) is fused


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_a_whole_model_learns_the_same_from_both(checkpointing, kind, more):
    """more: with all that a run puts in one piece beside the layers. qwen2 has biases, qwen3 norms after q and k."""
    gradients = []
    for fused in (True, False):
        model = tiny_model(kind).train()
        adapters.attach(model, Method(lora=Lora(lora_rank=2)), Start("float32", 0, fused))
        for number, (name, value) in enumerate(model.named_parameters()):
            if "lora_B" in name:
                value.data = 0.1 * drawn(*value.shape, seed=number, dtype=torch.float32)
        if fused and more:
            assert norm.replace(model) >= 5
            assert gated.replace(model) == 2
            assert lora.join(model) == 2
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


class Attention(nn.Module):
    """Three layers that read the same, of different widths, as in attention with grouped heads."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(IN, 6), nn.Linear(IN, 3, bias=False), nn.Linear(IN, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.q_proj(x), self.k_proj(x), self.v_proj(x)], dim=-1)


def attention(*, joined: bool, dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> Attention:
    """Each layer's adapter has another rank and another scale."""
    torch.manual_seed(0)
    model = Attention().to(dtype).requires_grad_(False)
    config = LoraConfig(
        r=RANK, lora_alpha=3, lora_dropout=dropout, rank_pattern={"k_proj": 3}, alpha_pattern={"v_proj": 5},
        target_modules=list(lora.SAME_INPUT),
    )  # fmt: skip
    lora.use_fused(config, model)
    inject_adapter_in_model(config, model)
    teach(model)
    assert not joined or lora.join(model) == 1
    return model


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers were computed at once, each time."""
    seen: list[int] = []
    original = lora.lora_linears

    def counted(x: torch.Tensor, layers: list[Adapted]) -> list[torch.Tensor]:
        seen.append(len(layers))
        return original(x, layers)

    monkeypatch.setattr(lora, "lora_linears", counted)
    return seen


@pytest.mark.parametrize("shape", [(ROWS, IN), (2, ROWS, IN), (1, 1, IN)])
def test_layers_that_read_the_same_give_together_what_each_gives_alone(shape, products):
    x = drawn(*shape, seed=1)
    ours, alone = run(attention(joined=True), x), run(attention(joined=False), x)
    assert products == [3, 1, 1, 1]
    assert_same(ours, alone, count=7)


def test_only_what_is_used_gets_a_gradient_from_layers_together():
    model = attention(joined=True)
    x = drawn(ROWS, IN, seed=1).requires_grad_(True)
    q = model(x)[..., :6]
    q.sum().backward()
    alone = attention(joined=False)
    (expected,) = torch.autograd.grad(alone.q_proj(x).sum(), x)
    assert torch.allclose(x.grad, expected, rtol=0, atol=1e-12)
    assert not model.v_proj.lora_B["default"].weight.grad.any()


def test_the_order_in_which_layers_are_asked_does_not_matter(products):
    model, alone, x = attention(joined=True), attention(joined=False), drawn(ROWS, IN, seed=1)
    for name in ("v_proj", "q_proj", "k_proj"):
        assert torch.allclose(getattr(model, name)(x), getattr(alone, name)(x), rtol=0, atol=1e-12)
    assert products == [3, 1, 1, 1]


def test_a_layer_that_is_asked_twice_answers_twice(products):
    model, alone, x = attention(joined=True), attention(joined=False), drawn(ROWS, IN, seed=1)
    for name in ("q_proj", "q_proj", "k_proj", "v_proj", "v_proj"):
        assert torch.allclose(getattr(model, name)(x), getattr(alone, name)(x), rtol=0, atol=1e-12)
    assert products[:2] == [3, 1]


def test_layers_that_are_asked_with_different_inputs_work_alone_from_then_on(products):
    model, alone = attention(joined=True), attention(joined=False)
    x, memory = drawn(ROWS, IN, seed=1), drawn(ROWS, IN, seed=2)
    for _ in range(2):
        leaves = [x.clone().requires_grad_(True), memory.clone().requires_grad_(True)]
        sums = []
        for one in (model, alone):
            parts = [one.q_proj(leaves[0]), one.k_proj(leaves[1]), one.v_proj(leaves[1])]
            out = torch.cat(parts, dim=-1)
            sums.append([out, *torch.autograd.grad(out, leaves, drawn(*out.shape, seed=9))])
        for ours, expected in zip(*sums, strict=True):
            assert torch.allclose(ours, expected, rtol=0, atol=1e-12)
    assert products == [3, 1, 1, 1, 1, 1, *[1] * 6]
    products.clear()
    assert torch.allclose(model(x), alone(x), rtol=0, atol=1e-12)
    assert products == [1] * 6


def test_an_input_that_changes_in_place_between_two_layers_is_noticed():
    model, alone, x = attention(joined=True), attention(joined=False), drawn(ROWS, IN, seed=1)
    with torch.no_grad():
        assert torch.allclose(model.q_proj(x), alone.q_proj(x), rtol=0, atol=1e-12)
        x.add_(1)
        assert torch.allclose(model.k_proj(x), alone.k_proj(x), rtol=0, atol=1e-12)
        assert torch.allclose(model.v_proj(x), alone.v_proj(x), rtol=0, atol=1e-12)


def test_an_input_of_equal_numbers_is_another_input():
    model, x = attention(joined=True), drawn(ROWS, IN, seed=1)
    first, second = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    model.q_proj(first)
    model.k_proj(second).sum().backward()
    assert first.grad is None
    assert second.grad is not None


def test_an_input_is_let_go_when_all_layers_have_answered():
    model, x = attention(joined=True), drawn(ROWS, IN, seed=1)
    gone = weakref.ref(x)
    with torch.no_grad():
        model(x)
    del x
    assert gone() is None


@pytest.mark.parametrize("change", ["off", "merged", "dropout", "one off"])
def test_layers_together_leave_to_peft_what_is_left_to_peft(change):
    results = []
    for joined in (True, False):
        model = attention(joined=joined, dropout=0.5 if change == "dropout" else 0.0).train()
        for layer in (model.k_proj,) if change == "one off" else model.children():
            if change.endswith("off"):
                layer.enable_adapters(False)
            elif change == "merged":
                layer.merge()
        torch.manual_seed(4)
        x = drawn(ROWS, IN, seed=1).requires_grad_(True)
        y = model(x)
        results.append([y, *torch.autograd.grad(y, x, drawn(*y.shape, seed=9))])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_copy_of_layers_together_is_a_group_of_its_own(products):
    model, x = attention(joined=True), drawn(ROWS, IN, seed=1)
    before = model(x).detach()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.k_proj.base_layer.weight.zero_()
        assert torch.equal(model(x), before)
        assert not torch.equal(other(x), before)
    assert products == [3, 3, 3]


def test_layers_together_answer_in_inference_mode_too():
    model, alone = attention(joined=True), attention(joined=False)
    with torch.inference_mode():
        x = drawn(ROWS, IN, seed=1)
        assert torch.allclose(model(x), alone(x), rtol=0, atol=1e-12)


class Crossed(nn.Module):
    """Keys and values of another width than the queries'."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = nn.Linear(IN, 4), nn.Linear(3, 4), nn.Linear(3, 4)


def test_layers_that_cannot_read_the_same_are_right():
    model = Crossed().requires_grad_(False)
    config = LoraConfig(r=RANK, target_modules=list(lora.SAME_INPUT))
    lora.use_fused(config, model)
    inject_adapter_in_model(config, model)
    lora.join(model)
    x, memory = drawn(ROWS, IN, seed=1, dtype=torch.float32), drawn(ROWS, 3, seed=2, dtype=torch.float32)
    with torch.no_grad():
        for layer, given in ((model.q_proj, x), (model.k_proj, memory), (model.v_proj, memory)):
            assert torch.allclose(layer(given), layer.base_layer(given), rtol=0, atol=1e-6)  # B is zero


@pytest.mark.parametrize(
    ("targets", "groups"),
    [
        (("all",), 2),
        (("q_proj", "k_proj", "v_proj"), 2),
        (("q_proj",), 0),
        (("q_proj", "v_proj"), 0),
        (("gate_proj", "up_proj"), 0),
    ],
)
def test_each_attention_of_which_all_three_are_adapted_is_a_group(targets, groups):
    model = tiny_model("llama")
    method = Method(lora=Lora(lora_target=targets, lora_rank=2))
    adapters.attach(model, method, Start("float32", 0, True))
    assert lora.join(model) == groups
    found = [module.together for module in model.modules() if isinstance(module, FusedLinear)]
    assert len(found) > 1
    assert len({id(it) for it in found if it is not None}) == groups


def test_layers_that_peft_built_form_no_group():
    model = tiny_model("llama")
    method = Method(lora=Lora(lora_rank=2))
    adapters.attach(model, method, Start("float32", 0))
    assert lora.join(model) == 0


@pytest.mark.skipif(not upstream.can_lay_out(), reason="this torch does not lay weights out")
def test_a_weight_that_peft_merged_into_is_not_used_as_it_was():
    model = adapted(fused=True, dtype=torch.bfloat16)
    x = drawn(ROWS, IN, seed=1, dtype=torch.bfloat16)
    model.first.frozen.lay_out()
    model.first.merge()
    model.first.unmerge()
    base = model.first.base_layer
    assert torch.equal(model.first.frozen.through(x), x @ base.weight.t())
