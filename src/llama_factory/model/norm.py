"""Root mean square normalisation that keeps one number a token for its backward.

In: a loaded model. Out: the same model; where a norm of its own is the usual formula, a module of this file with the
same weight under the same name stands in its place. With n = rsqrt(mean(x^2) + eps), g = dy * w and D the width,

    y = w * (n x)        dx = n g - x n^3 / D * sum(g x)        dw = sum over tokens of dy * (n x)

RMSNorm, Zhang & Sennrich 2019 (arXiv 1910.07467), eq. 4. transformers writes it with whole tensors in float32, of which
autograd keeps some for the backward; here x and n are kept.

Where there are compiled kernels (`native`), each direction is one pass of theirs.

A norm is not known by its name alone (some models add 1 to the weight): `swap` compares each one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.model.native import calls
from llama_factory.model.native.library import library_for
from llama_factory.model.swap import swap

EPSILONS = ("variance_epsilon", "eps")


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
    return swap(model, _made_of)


def _made_of(module: nn.Module) -> tuple[RMSNorm, Tensor] | None:
    """Our norm in place of this module, if it looks like one."""
    if isinstance(module, RMSNorm) or not type(module).__name__.endswith("RMSNorm"):
        return None
    weight = getattr(module, "weight", None)
    eps = next((getattr(module, name) for name in EPSILONS if hasattr(module, name)), None)
    if not isinstance(weight, nn.Parameter) or weight.is_meta or not isinstance(eps, float):
        return None
    more = [*module.children(), *module.buffers(), *list(module.parameters())[1:]]
    return None if more else (RMSNorm(weight, eps), weight)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        ctx.kernels = library_for(x, weight_D)
        if ctx.kernels is not None:
            done, factor_T = calls.norm_forward(ctx.kernels, x, weight_D, eps)
            ctx.save_for_backward(x, weight_D, factor_T)
            return done
        x_exact = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_T1 = torch.linalg.vecdot(x_exact, x_exact)[..., None].div_(x.shape[-1])
        factor_T1 = mean_T1.add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight_D, factor_T1)
        y: Tensor = (x_exact * factor_T1).to(x.dtype)
        return y.mul_(weight_D) if y.dtype == weight_D.dtype else y * weight_D

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight_D, factor_T1 = ctx.saved_tensors
        (dy,) = grads
        if ctx.kernels is not None:
            wants_x, wants_weight, _ = ctx.needs_input_grad
            dx = calls.norm_backward(ctx.kernels, x, weight_D, factor_T1, dy) if wants_x else None
            dweight_D = calls.norm_weight(ctx.kernels, x, factor_T1, dy).to(weight_D.dtype) if wants_weight else None
            return dx, dweight_D, None
        x_exact = x.to(factor_T1.dtype)
        dweight_D = dx = None
        if ctx.needs_input_grad[1]:
            dweight_D = (dy * (x_exact * factor_T1)).flatten(0, -2).sum(0).to(weight_D.dtype)
        if ctx.needs_input_grad[0]:
            g = (dy * weight_D).to(factor_T1.dtype)
            share_T1 = torch.linalg.vecdot(g, x_exact)[..., None].mul_(factor_T1**3).div_(x.shape[-1])
            dx = g.mul_(factor_T1).addcmul_(x_exact, share_T1, value=-1.0).to(x.dtype)
        return dx, dweight_D, None
