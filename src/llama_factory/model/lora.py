"""One linear layer and its LoRA adapter in one piece, forward and backward.

In: peft's own LoRA layers, made by peft with this file's class in place of its own. Out: the same layers, names
and files; a forward that adds the adapter's part into the layer's result instead of making four tensors of that
size on the way, and a backward that never forms an (out x in) product:

    y  = x W' + b + s (x A') B'
    dx = dy W + s (dy B) A          dA = s (dy B)' x          dB = s dy' (x A')

LoRA, Hu et al. 2021 (arXiv 2106.09685), eq. 3, with s = alpha / rank. What peft can do beside that (dropout,
several adapters, merged weights, variants, another number format than the base's, hooks) is peft's own forward.

Frozen base weights get no gradient here: they have none in training with LoRA.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear
from torch import Tensor, nn

from llama_factory.model import upstream


def use_fused(config: LoraConfig, model: nn.Module) -> None:
    """Let peft build `FusedLinear` for every linear layer that this configuration adapts.

    peft asks by `isinstance`, and a quantised layer is an `nn.Linear` too: with one of them in the model, peft
    builds all layers itself.
    """
    if all(type(module) is nn.Linear for module in model.modules() if isinstance(module, nn.Linear)):
        upstream.build_linear_with(config, FusedLinear)


class FusedLinear(Linear):  # type: ignore[misc]  # peft has no types
    """peft's layer; its forward in one piece where that is the whole of what peft would do."""

    def __init__(self, base_layer: nn.Module, adapter_name: str, **settings: Any) -> None:
        config = settings.pop("config")
        super().__init__(base_layer, adapter_name, config, **settings)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        adapter = self._only_adapter(x) if not args and not kwargs else None
        if adapter is None:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        base, a, b = self.base_layer, self.lora_A[adapter].weight, self.lora_B[adapter].weight
        return lora_linear(x, base.weight, base.bias, a, b, self.scaling[adapter])

    def _only_adapter(self, x: Tensor) -> str | None:
        """The one adapter that is at work, if nothing else is."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        name = str(self.active_adapters[0])
        if name not in self.lora_A or name in self.lora_variant:
            return None
        base, a, b, dropout = self.base_layer, self.lora_A[name], self.lora_B[name], self.lora_dropout[name]
        plain = type(base) is nn.Linear and not base._forward_hooks and not base._forward_pre_hooks
        same = x.dtype == base.weight.dtype == a.weight.dtype == b.weight.dtype
        silent = isinstance(dropout, nn.Identity) or not self.training
        if not plain or not same or not silent or base.weight.requires_grad or b.bias is not None:
            return None
        return None if torch.is_autocast_enabled(x.device.type) else name


def lora_linear(
    x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_RI: Tensor, b_OR: Tensor, scale: float
) -> Tensor:
    """x (..., I) through the layer and its adapter: (..., O). Gradients for x, a_RI and b_OR."""
    y_TO: Tensor = _LoraLinear.apply(x.reshape(-1, x.shape[-1]), weight_OI, bias_O, a_RI, b_OR, scale)  # type: ignore[no-untyped-call]
    return y_TO.view(*x.shape[:-1], -1)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_RI: Tensor, b_OR: Tensor, scale: float
    ) -> Tensor:
        y_TO = x_TI @ weight_OI.t() if bias_O is None else torch.addmm(bias_O, x_TI, weight_OI.t())
        down_TR = x_TI @ a_RI.t()
        y_TO.addmm_(down_TR, b_OR.t(), alpha=scale)
        ctx.save_for_backward(x_TI, weight_OI, a_RI, b_OR, down_TR)
        ctx.scale = scale
        return y_TO

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_TI, weight_OI, a_RI, b_OR, down_TR = ctx.saved_tensors
        (dy_TO,) = grads
        ddown_TR = (dy_TO @ b_OR).mul_(ctx.scale)
        da_RI = ddown_TR.t() @ x_TI if ctx.needs_input_grad[3] else None
        db_OR = (down_TR.t() @ dy_TO).mul_(ctx.scale).t() if ctx.needs_input_grad[4] else None
        dx_TI = (dy_TO @ weight_OI).addmm_(ddown_TR, a_RI) if ctx.needs_input_grad[0] else None
        return dx_TI, None, None, da_RI, db_OR, None
