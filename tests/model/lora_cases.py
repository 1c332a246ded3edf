"""What tests of layers with adapters share: numbers drawn, adapters that are not zero, one run, one comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def teach(model: nn.Module, *, size_a: float = 1.0, size_b: float = 1.0) -> None:
    """Adapters with numbers of their own in both halves, so that each has a gradient."""
    for number, (name, value) in enumerate(sorted(model.named_parameters())):
        if "lora_" in name:
            size = size_b if "lora_B" in name else size_a
            value.data = size * drawn(*value.shape, seed=number, dtype=value.dtype)
            value.requires_grad_(True)


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of x and of every adapter."""
    torch.manual_seed(3)
    x = x.clone().requires_grad_(True)
    out = model(x)
    out.backward(drawn(*out.shape, seed=9, dtype=out.dtype))
    found = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert all(value.grad is None for value in model.parameters() if not value.requires_grad)
    return out.detach(), {**found, "x": x.grad}


def assert_same(ours: tuple[Tensor, dict[str, Tensor]], theirs: tuple[Tensor, dict[str, Tensor]], count: int) -> None:
    """Output and `count` gradients of two runs, none of which is zero."""
    (y, found), (expected, gradients) = ours, theirs
    assert torch.allclose(y, expected, rtol=0, atol=1e-12)
    assert found.keys() == gradients.keys()
    assert len(found) == count
    for name, gradient in gradients.items():
        assert float(gradient.abs().max()) > 1e-3, name
        assert torch.allclose(found[name], gradient, rtol=0, atol=1e-12), name
