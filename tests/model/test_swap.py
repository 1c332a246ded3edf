"""Modules exchanged for ours: only where both compute the same, and never what something hangs on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from llama_factory.model.swap import ROUNDING, swap

WIDTH = 6


class Theirs(nn.Module):
    """y = w x^2, the way somebody else wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(1, 2, WIDTH, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x**2


class Ours(nn.Module):
    """The same, multiplied in another order."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * x


class Shifted(Theirs):
    """Another number comes out."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1e-9


class OneWay(Theirs):
    """The same numbers and another gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * x.detach()


class Rounded(Theirs):
    """The same up to the precision of another number format, which it returns."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class OfTwo(Theirs):
    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return super().forward(x) * gate


class OfOneRow(Theirs):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(WIDTH))


class Undone(Theirs):
    """Gives no gradient at all."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


def made_of(module: nn.Module) -> tuple[nn.Module, Tensor] | None:
    return (Ours(module.weight), module.weight) if isinstance(module, Theirs) else None


def test_what_agrees_is_replaced_wherever_it_stands_and_keeps_its_weight():
    model = nn.Sequential(Theirs(), nn.Sequential(nn.ReLU(), Theirs()), nn.ModuleDict({"last": Theirs()}))
    weights = dict(model.named_parameters())
    x = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = model[1](model[0](x))
    assert swap(model, made_of) == 3
    assert sum(isinstance(module, Ours) for module in model.modules()) == 3
    assert [(name, id(it)) for name, it in model.named_parameters()] == [(name, id(it)) for name, it in weights.items()]
    assert torch.allclose(model[1](model[0](x)), before, rtol=1e-14, atol=0)
    assert swap(model, made_of) == 0


@pytest.mark.parametrize("other", [Shifted, OneWay, Rounded, OfTwo, OfOneRow, Undone])
def test_what_computes_something_else_is_left_alone(other):
    model = nn.Sequential(other(), Theirs())
    before = model[0]
    assert swap(model, made_of) == 1
    assert model[0] is before


def test_what_nothing_is_made_of_is_left_alone():
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
    before = list(model)
    assert swap(model, made_of) == 0
    assert list(model) == before


HOOKS = {
    "forward": lambda module: module.register_forward_hook(lambda *words: None),
    "before": lambda module: module.register_forward_pre_hook(lambda *words: None),
    "with keywords": lambda module: module.register_forward_hook(lambda *words: None, with_kwargs=True),
    "backward": lambda module: module.register_full_backward_hook(lambda *words: None),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_what_a_hook_hangs_on_is_left_alone_until_the_hook_is_gone(kind):
    model = nn.Sequential(Theirs(), Theirs())
    handle = HOOKS[kind](model[0])
    assert swap(model, made_of) == 1
    assert isinstance(model[0], Theirs)
    handle.remove()
    assert swap(model, made_of) == 1
    assert isinstance(model[0], Ours)


@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_rounding_of_each_number_format_is_no_difference(dtype):
    model = nn.Sequential(Theirs().to(dtype))
    assert swap(model, made_of) == 1


@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_three_times_the_rounding_of_a_number_format_is_a_difference(dtype):
    class Larger(Theirs):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 + 3 * ROUNDING[dtype])

    model = nn.Sequential(Larger().to(dtype))
    assert swap(model, made_of) == 0


def test_the_comparison_leaves_no_gradient_behind():
    model = nn.Sequential(Theirs(), Shifted())
    swap(model, made_of)
    assert [it.grad for it in model.parameters()] == [None, None]
