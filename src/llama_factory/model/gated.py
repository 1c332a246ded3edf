"""A gated MLP whose three layers have adapters, in one piece, forward and backward.

In: a model whose LoRA layers are `FusedLinear`. Out: the same model; where an MLP is the usual formula, a module of
this file with the same layers under the same names stands in its place:

    h = silu(gate(x)) * up(x)        y = down(h)

Kept for the backward are x and what the two layers gave, before silu; h is computed again, which costs two passes
over it and saves two of the four tensors of that width. Both layers read x, so their adapters' first halves are one
product, and the gradient for x is summed inside the products.

SwiGLU, Shazeer 2020 (arXiv 2002.05202), eq. 6. An MLP is not known by its names alone: `swap` compares each one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.model import lora, upstream
from llama_factory.model.lora import Adapted, FusedLinear
from llama_factory.model.swap import bare, swap

LAYERS = ("gate_proj", "up_proj", "down_proj")
SILU = ("SiLU", "SiLUActivation")


class GatedMLP(nn.Module):
    """The layers of an MLP of transformers; its forward in one piece where nothing but their adapters is at work."""

    def __init__(self, gate_proj: FusedLinear, up_proj: FusedLinear, down_proj: FusedLinear, act_fn: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act_fn = gate_proj, up_proj, down_proj, act_fn

    def forward(self, x: Tensor) -> Tensor:
        gate, up, down = (layer.adapted(x) for layer in (self.gate_proj, self.up_proj, self.down_proj))
        hooked = not all(bare(part) for part in self.children())
        if hooked or gate is None or up is None or down is None:  # None: dropout, merged weights, ...
            y: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
            return y
        adapters = (it for one in (gate, up, down) for it in (one.a_RI, one.b_OR))
        y_TD: Tensor = _GatedMLP.apply(x.reshape(-1, x.shape[-1]), (gate, up, down), *adapters)  # type: ignore[no-untyped-call]
        return y_TD.view(*x.shape[:-1], -1)


def replace(model: nn.Module) -> int:
    """Put `GatedMLP` where it computes the same; how many that were."""
    return swap(model, _made_of)


def _made_of(module: nn.Module) -> tuple[GatedMLP, Tensor] | None:
    """Our MLP in place of this module, if it looks like one."""
    layers = [getattr(module, name, None) for name in LAYERS]
    activation = getattr(module, "act_fn", None)
    if isinstance(module, GatedMLP) or not isinstance(activation, nn.Module) or type(activation).__name__ not in SILU:
        return None
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if own or len(list(module.children())) > len(LAYERS) + 1:
        return None
    gate, up, down = layers
    if not (isinstance(gate, FusedLinear) and isinstance(up, FusedLinear) and isinstance(down, FusedLinear)):
        return None
    weight: Tensor = gate.base_layer.weight
    return None if weight.is_meta else (GatedMLP(gate, up, down, activation), weight)


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, layers: tuple[Adapted, Adapted, Adapted], *adapters: Tensor) -> Tensor:
        gate, up, down = layers
        (gate_TI, up_TI), low_TR = lora.forward(x_TD, (gate, up))
        h_TI = nn.functional.silu(gate_TI).mul_(up_TI)
        (y_TD,), down_low_TR = lora.forward(h_TI, (down,))
        ctx.save_for_backward(x_TD, gate_TI, up_TI, low_TR, down_low_TR, *adapters)
        ctx.layers = layers
        return y_TD

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_TD, gate_TI, up_TI, low_TR, down_low_TR, *_ = ctx.saved_tensors
        gate, up, down = ctx.layers
        silu_TI = nn.functional.silu(gate_TI)
        h_TI = silu_TI * up_TI
        dh_TI, ddown = lora.backward(grads, h_TI, down_low_TR, (down,))
        dup_TI = silu_TI.mul_(dh_TI)
        dgate_TI = upstream.silu_backward_(dh_TI.mul_(up_TI), gate_TI)
        dx_TD, dboth = lora.backward((dgate_TI, dup_TI), x_TD, low_TR, (gate, up))
        return dx_TD, None, *dboth, *ddown
