"""Root mean square normalisation that keeps one number a token for its backward.

In: a loaded model. Out: the same model; where a norm of its own is the usual formula, a module of this file with the
same weight under the same name stands in its place. With n = rsqrt(mean(x^2) + eps), g = dy * w and D the width,

    y = w * (n x)        dx = n g - x n^3 / D * sum(g x)        dw = sum over tokens of dy * (n x)

RMSNorm, Zhang & Sennrich 2019 (arXiv 1910.07467), eq. 4. transformers writes it with whole tensors in float32, of which
autograd keeps some for the backward; here x and n are kept.

A norm is not known by its name alone: each candidate is computed both ways on random numbers, forward and backward,
and left alone where they differ by more than rounding (some models add 1 to the weight).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

EPSILONS = ("variance_epsilon", "eps")
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""Largest difference between two ways of computing the same, as a share of the largest value."""


class RMSNorm(nn.Module):
    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Norm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return y


def replace(model: nn.Module) -> int:
    """Put `RMSNorm` where it computes the same; how many norms that were."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            ours = _same(child)
            if ours is not None:
                setattr(parent, name, ours)
                count += 1
    return count


def _same(module: nn.Module) -> RMSNorm | None:
    """Our norm in place of this module, if it is one and nothing hangs on it."""
    if isinstance(module, RMSNorm) or not type(module).__name__.endswith("RMSNorm"):
        return None
    weight = getattr(module, "weight", None)
    eps = next((getattr(module, name) for name in EPSILONS if hasattr(module, name)), None)
    if not isinstance(weight, nn.Parameter) or weight.is_meta or not isinstance(eps, float):
        return None
    more = [*module.children(), *module.buffers(), *list(module.parameters())[1:]]
    if more or module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return None
    ours = RMSNorm(weight, eps)
    return ours if _agree(module, ours, weight) else None


def _agree(theirs: nn.Module, ours: nn.Module, weight: nn.Parameter) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2, weight.numel())
    x, dy = (torch.randn(shape, generator=generator).to(weight.device, weight.dtype) for _ in range(2))
    results = []
    for module in (theirs, ours):
        leaf = x.clone().requires_grad_(True)
        try:
            y = module(leaf)
            results.append((y.detach(), *torch.autograd.grad(y, leaf, dy)))
        except (TypeError, RuntimeError):  # it takes more than one tensor, or another shape
            return False
    return all(
        one.dtype == other.dtype and float((one - other).abs().max()) <= ROUNDING[one.dtype] * float(one.abs().max())
        for one, other in zip(*results, strict=True)
    )


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        factor_T1 = x.to(exact).pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_D, factor_T1)
        y = torch.mul(x, factor_T1, out=torch.empty_like(x))
        return y.mul_(weight_D) if y.dtype == weight_D.dtype else y * weight_D

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight_D, factor_T1 = ctx.saved_tensors
        (dy,) = grads
        x_exact = x.to(factor_T1.dtype)
        dweight_D = dx = None
        if ctx.needs_input_grad[1]:
            dweight_D = (dy * (x_exact * factor_T1)).flatten(0, -2).sum(0).to(weight_D.dtype)
        if ctx.needs_input_grad[0]:
            g = (dy * weight_D).to(factor_T1.dtype)
            share_T1 = (g * x_exact).sum(-1, keepdim=True).mul_(factor_T1**3).div_(x.shape[-1])
            dx = g.mul_(factor_T1).addcmul_(x_exact, share_T1, value=-1.0).to(x.dtype)
        return dx, dweight_D, None
