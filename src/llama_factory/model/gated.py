"""A gated MLP in one piece, forward and backward: its three layers as they are, or each with an adapter.

In: a model whose LoRA layers are `FusedLinear`, or one without adapters there. Out: the same model; where an MLP is the
usual formula, a module of this file with the same layers under the same names stands in its place:

    h = silu(gate(x)) * up(x)        y = down(h)

Kept for the backward are x and what the two layers gave, before silu; h is computed again, which costs two passes
over it and saves two of the four tensors of that width. Both layers read x, so their adapters' first halves are one
product, and the gradient for x is summed inside the products. Weights that learn themselves get dW = dy' x.

The passes over single numbers are compiled kernels where there are some (`native`).

SwiGLU, Shazeer 2020 (arXiv 2002.05202), eq. 6. An MLP is not known by its names alone: `swap` compares each one.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from llama_factory.model import lora, upstream
from llama_factory.model.lora import Adapted, FusedLinear
from llama_factory.model.native import calls
from llama_factory.model.native.library import library_for
from llama_factory.model.swap import bare, swap

LAYERS = ("gate_proj", "up_proj", "down_proj")
Layers = tuple[nn.Module, nn.Module, nn.Module]
SILU = ("SiLU", "SiLUActivation")


class GatedMLP(nn.Module):
    """The layers of an MLP of transformers; its forward in one piece where nothing but their adapters is at work."""

    def __init__(self, gate_proj: nn.Module, up_proj: nn.Module, down_proj: nn.Module, act_fn: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj, self.act_fn = gate_proj, up_proj, down_proj, act_fn

    def forward(self, x: Tensor) -> Tensor:
        layers = self.gate_proj, self.up_proj, self.down_proj
        y_TD: Tensor | None = None
        if all(bare(part) for part in self.children()):
            adapted = [layer.adapted(x) for layer in layers if isinstance(layer, FusedLinear)]
            if len(adapted) == len(layers) and None not in adapted:
                adapters = (it for one in adapted if one for it in (one.a_RI, one.b_OR))
                y_TD = _GatedMLP.apply(_flat(x), tuple(adapted), *adapters)  # type: ignore[no-untyped-call]
            elif weights := _plain_weights(x, layers):
                y_TD = _PlainGatedMLP.apply(_flat(x), *weights)  # type: ignore[no-untyped-call]
        if y_TD is None:  # dropout, merged weights, adapters on some of the layers, ...
            y: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
            return y
        return y_TD.view(*x.shape[:-1], -1)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _plain_weights(x: Tensor, layers: tuple[nn.Module, ...]) -> list[Tensor]:
    """The weights of layers that are nothing but a weight in the format of `x`; none if one is something else."""
    if torch.is_autocast_enabled(x.device.type):
        return []
    weights = [it for it in map(_weight_of, layers) if it is not None and it.dtype == x.dtype]
    return weights if len(weights) == len(layers) and not any(isinstance(it, FusedLinear) for it in layers) else []


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
    weight = _weight_of(gate)
    if weight is None or weight.is_meta or not (type(gate) is type(up) is type(down)):
        return None
    return GatedMLP(*cast("Layers", (gate, up, down)), activation), weight


def _weight_of(layer: object) -> Tensor | None:
    """Of one of our layers with an adapter, or of a layer that is nothing but a weight."""
    if isinstance(layer, FusedLinear):
        weight: Tensor = layer.base_layer.weight
        return weight
    return layer.weight if type(layer) is nn.Linear and layer.bias is None else None


def _activated(gate_TI: Tensor, up_TI: Tensor) -> Tensor:
    """h = silu(gate) * up."""
    if kernels := library_for(gate_TI, up_TI):
        return calls.gated_forward(kernels, gate_TI, up_TI)
    return nn.functional.silu(gate_TI).mul_(up_TI)


def _back_through_(gate_TI: Tensor, up_TI: Tensor, dh_TI: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients for gate, in the place of dh, and for up."""
    if kernels := library_for(gate_TI, up_TI, dh_TI):
        dup_TI = calls.gated_backward_(kernels, gate_TI, up_TI, dh_TI)
        return dh_TI, dup_TI
    dup_TI = nn.functional.silu(gate_TI).mul_(dh_TI)
    return upstream.silu_backward_(dh_TI.mul_(up_TI), gate_TI), dup_TI


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, layers: tuple[Adapted, Adapted, Adapted], *adapters: Tensor) -> Tensor:
        gate, up, down = layers
        (gate_TI, up_TI), low_TR = lora.forward(x_TD, (gate, up))
        h_TI = _activated(gate_TI, up_TI)
        (y_TD,), down_low_TR = lora.forward(h_TI, (down,))
        ctx.save_for_backward(x_TD, gate_TI, up_TI, low_TR, down_low_TR, *adapters)
        ctx.layers = layers
        return y_TD

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_TD, gate_TI, up_TI, low_TR, down_low_TR, *_ = ctx.saved_tensors
        gate, up, down = ctx.layers
        dh_TI, ddown = lora.backward(grads, _activated(gate_TI, up_TI), down_low_TR, (down,))
        dgate_TI, dup_TI = _back_through_(gate_TI, up_TI, dh_TI)
        dx_TD, dboth = lora.backward((dgate_TI, dup_TI), x_TD, low_TR, (gate, up))
        return dx_TD, None, *dboth, *ddown


class _PlainGatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, gate_ID: Tensor, up_ID: Tensor, down_DI: Tensor) -> Tensor:
        gate_TI, up_TI = x_TD @ gate_ID.t(), x_TD @ up_ID.t()
        ctx.save_for_backward(x_TD, gate_TI, up_TI, gate_ID, up_ID, down_DI)
        return _activated(gate_TI, up_TI) @ down_DI.t()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_TD, gate_TI, up_TI, gate_ID, up_ID, down_DI = ctx.saved_tensors
        (dy_TD,) = grads
        wants_x, wants_gate, wants_up, wants_down = ctx.needs_input_grad
        ddown_DI = dy_TD.t() @ _activated(gate_TI, up_TI) if wants_down else None
        dgate_TI, dup_TI = _back_through_(gate_TI, up_TI, dy_TD @ down_DI)
        dup_ID = dup_TI.t() @ x_TD if wants_up else None
        dgate_ID = dgate_TI.t() @ x_TD if wants_gate else None
        dx_TD = (dgate_TI @ gate_ID).addmm_(dup_TI, up_ID) if wants_x else None
        return dx_TD, dgate_ID, dup_ID, ddown_DI
