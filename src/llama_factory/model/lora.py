"""Linear layers and their LoRA adapters in one piece, forward and backward.

In: peft's own LoRA layers, made by peft with this file's class in place of its own. Out: the same layers, names
and files; a forward that adds the adapter's part into the layer's result instead of making four tensors of that
size on the way, and a backward that never forms an (out x in) product:

    y  = x W' + b + s (x A') B'
    dx = dy W + s (dy B) A          dA = s (dy B)' x          dB = s dy' (x A')

Layers that read the same x (queries, keys and values) share the products with A and sum dx as they go.

LoRA, Hu et al. 2021 (arXiv 2106.09685), eq. 3, with s = alpha / rank. Several adapters that add up are computed as one.
What peft can do beside that (dropout, merged weights, variants, another number format than the base's, hooks) is peft's
own forward.

Frozen base weights get no gradient here: they have none in training with LoRA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear
from torch import Tensor, nn

from llama_factory.model import upstream
from llama_factory.model.frozen import Frozen
from llama_factory.model.swap import bare


def use_fused(config: LoraConfig, model: nn.Module) -> None:
    """Let peft build `FusedLinear` for every linear layer that this configuration adapts.

    peft asks by `isinstance`, and a quantised layer is an `nn.Linear` too: with one of them in the model, peft
    builds all layers itself.
    """
    if all(type(module) is nn.Linear for module in model.modules() if isinstance(module, nn.Linear)):
        upstream.build_linear_with(config, FusedLinear)


SAME_INPUT = ("q_proj", "k_proj", "v_proj")
"""Layers of one module that read the same."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """A frozen linear layer and its adapter."""

    frozen: Frozen
    bias_O: Tensor | None
    a_RI: Tensor
    b_OR: Tensor
    scale: float


def join(model: nn.Module) -> int:
    """Let the layers for queries, keys and values compute together; how many such groups there are."""
    count = 0
    for module in model.modules():
        layers = [layer for layer in (getattr(module, name, None) for name in SAME_INPUT) if layer is not None]
        alike = len({getattr(layer, "in_features", None) for layer in layers}) == 1
        if len(layers) > 1 and alike and all(isinstance(layer, FusedLinear) for layer in layers):
            together = Together(*layers)
            for layer in layers:
                layer.together = together
            count += 1
    return count


class FusedLinear(Linear):  # type: ignore[misc]  # peft has no types
    """peft's layer; its forward in one piece where that is the whole of what peft would do."""

    def __init__(self, base_layer: nn.Module, adapter_name: str, **settings: Any) -> None:
        config = settings.pop("config")
        super().__init__(base_layer, adapter_name, config, **settings)
        self._frozen: Frozen | None = None
        self.together: Together | None = None

    @property
    def frozen(self) -> Frozen:
        """The layer's own weight."""
        weight: Tensor = self.base_layer.weight
        if self._frozen is None or self._frozen.weight_OI is not weight:
            self._frozen = Frozen(weight)
        return self._frozen

    def merge(self, *args: Any, **kwargs: Any) -> None:
        super().merge(*args, **kwargs)
        self._frozen = None  # peft changes the weight in a way that no tensor tells

    def unmerge(self) -> None:
        super().unmerge()
        self._frozen = None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        found = self.adapted(x) if not args and not kwargs else None
        if found is None:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        return lora_linear(x, found) if self.together is None else self.together.output(self, x, found)

    def adapted(self, x: Tensor) -> Adapted | None:
        """The layer and what stands beside it, if together they are the whole of what peft would do with `x`.

        Several adapters that add up are one of the sum of their ranks.
        """
        names = self._at_work(x)
        if not names:
            return None
        scale = self.scaling[names[0]]
        a, b = ([half[name].weight for name in names] for half in (self.lora_A, self.lora_B))
        if len(names) == 1:
            return Adapted(self.frozen, self.base_layer.bias, a[0], b[0], scale)
        shares = (self.scaling[name] / scale for name in names)
        b = [one if share == 1 else one * share for one, share in zip(b, shares, strict=True)]
        return Adapted(self.frozen, self.base_layer.bias, torch.cat(a), torch.cat(b, dim=1), scale)

    def _at_work(self, x: Tensor) -> list[str]:
        """The adapters that are at work; none if anything else is."""
        base = self.base_layer
        if self.disable_adapters or self.merged or type(base) is not nn.Linear or not bare(base):
            return []
        if x.dtype != base.weight.dtype or base.weight.requires_grad or torch.is_autocast_enabled(x.device.type):
            return []
        names = [str(name) for name in self.active_adapters if name in self.lora_A]
        return names if all(self._is_plain(name) for name in names) else []

    def _is_plain(self, name: str) -> bool:
        """Two matrices in the layer's own number format, and nothing that is drawn or added."""
        a, b, dropout = self.lora_A[name], self.lora_B[name], self.lora_dropout[name]
        same = self.base_layer.weight.dtype == a.weight.dtype == b.weight.dtype
        silent = isinstance(dropout, nn.Identity) or not self.training
        return same and silent and b.bias is None and name not in self.lora_variant


class Together:
    """Layers that read the same input one after the other: the first one that is asked computes for all.

    What it keeps are outputs that nobody has asked for yet. If some are left when another input comes, the model does
    not use these layers in this way, and from then on each works alone.
    """

    def __init__(self, *layers: FusedLinear) -> None:
        self._layers = layers
        self._input: tuple[Tensor, int] | None = None
        self._waiting: dict[int, Tensor] = {}

    def output(self, layer: FusedLinear, x: Tensor, found: Adapted) -> Tensor:
        """What this layer, which is `found`, makes of x."""
        if self._input is None or self._input[0] is not x or self._input[1] != _version(x):
            self._begin(x)
        y = self._waiting.pop(id(layer), None)
        if not self._waiting:
            self._input = None
        return lora_linear(x, found) if y is None else y

    def _begin(self, x: Tensor) -> None:
        if self._waiting:
            self._layers = ()
        self._input, self._waiting = None, {}
        found = [(id(layer), adapted) for layer in self._layers if (adapted := layer.adapted(x)) is not None]
        if len(found) > 1:
            ys = lora_linears(x, [adapted for _, adapted in found])
            self._input, self._waiting = (x, _version(x)), dict(zip((id for id, _ in found), ys, strict=True))


def _version(x: Tensor) -> int:
    """Another number when x was changed in place; nothing counts where autograd is off altogether."""
    return 0 if x.is_inference() else x._version


def lora_linear(x: Tensor, layer: Adapted) -> Tensor:
    """x (..., I) through the layer and its adapter: (..., O). Gradients for x and both halves of the adapter."""
    return lora_linears(x, [layer])[0]


def lora_linears(x: Tensor, layers: Sequence[Adapted]) -> list[Tensor]:
    """The same through several layers that read x."""
    adapters = (it for layer in layers for it in (layer.a_RI, layer.b_OR))
    ys: tuple[Tensor, ...] = _LoraLinears.apply(x.reshape(-1, x.shape[-1]), layers, *adapters)  # type: ignore[no-untyped-call]
    return [y_TO.view(*x.shape[:-1], -1) for y_TO in ys]


class _LoraLinears(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, layers: Sequence[Adapted], *adapters: Tensor) -> tuple[Tensor, ...]:
        ys, low_TR = forward(x_TI, layers)
        ctx.save_for_backward(x_TI, low_TR, *adapters)  # the adapters, so that one changed in between is an error
        ctx.layers = layers
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_TI, low_TR, *_ = ctx.saved_tensors
        dx_TI, dadapters = backward(grads, x_TI, low_TR, ctx.layers)
        return dx_TI, None, *dadapters


def forward(x_TI: Tensor, layers: Sequence[Adapted]) -> tuple[list[Tensor], Tensor]:
    """Every layer's y, and x A' of all layers side by side, which the backward needs. Outside of autograd."""
    low_TR = x_TI @ _halves(layers).t()
    ys = []
    for layer, part_TR in zip(layers, torch.split(low_TR, [len(it.a_RI) for it in layers], dim=1), strict=True):
        y_TO = layer.frozen.through(x_TI)
        if layer.bias_O is not None:
            y_TO += layer.bias_O
        ys.append(y_TO.addmm_(part_TR, layer.b_OR.t(), alpha=layer.scale))
    return ys, low_TR


def backward(
    dys: Sequence[Tensor], x_TI: Tensor, low_TR: Tensor, layers: Sequence[Adapted]
) -> tuple[Tensor, list[Tensor]]:
    """dx, summed over the layers, and dA and dB of each layer in turn."""
    ranks = [len(it.a_RI) for it in layers]
    dlows = [(dy_TO @ it.b_OR).mul_(it.scale) for dy_TO, it in zip(dys, layers, strict=True)]
    dlow_TR = dlows[0] if len(dlows) == 1 else torch.cat(dlows, dim=1)
    das = torch.split(dlow_TR.t() @ x_TI, ranks)
    parts = zip(torch.split(low_TR, ranks, dim=1), dys, layers, strict=True)
    dbs = [(part_TR.t() @ dy_TO).mul_(it.scale).t() for part_TR, dy_TO, it in parts]
    dx_TI = layers[0].frozen.back(dys[0])
    for dy_TO, it in zip(dys[1:], layers[1:], strict=True):
        dx_TI = it.frozen.back(dy_TO, dx_TI)
    return dx_TI.addmm_(dlow_TR, _halves(layers)), [it for pair in zip(das, dbs, strict=True) for it in pair]


def _halves(layers: Sequence[Adapted]) -> Tensor:
    return layers[0].a_RI if len(layers) == 1 else torch.cat([it.a_RI for it in layers])
