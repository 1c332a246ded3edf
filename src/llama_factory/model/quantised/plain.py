"""The weights that quantised layers stand for, as numbers again.

In: a quantised layer, or a whole model quantised while it was loaded. Out: a layer's weight, to the bit what the layer
multiplies with; a plain model that has such weights in the places of its own. LoftQ needs both: its adapter makes up
for the rounding of just this base.

LLM.int8 rounds what a layer reads, too: of that nothing shows in a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from llama_factory.model.quantised import layers

if TYPE_CHECKING:
    from torch import Tensor, nn


def _four(layer: Any) -> Tensor:
    from bitsandbytes.functional import dequantize_4bit

    return cast("Tensor", dequantize_4bit(layer.weight.data, layer.weight.quant_state))


def _eight(layer: Any) -> Tensor:
    from bitsandbytes.functional import int8_vectorwise_dequant

    moved = layer.state.CB is not None  # the first forward takes both from the weight
    packed, scales = (layer.state.CB, layer.state.SCB) if moved else (layer.weight.CB, layer.weight.SCB)
    return cast("Tensor", int8_vectorwise_dequant(packed, scales))


def _hqq(layer: Any) -> Tensor:
    return cast("Tensor", layer.dequantize())


BY_CLASS: Mapping[str, Callable[[Any], Tensor]] = {"Linear4bit": _four, "Linear8bitLt": _eight, "HQQLinear": _hqq}


def weight_of(layer: nn.Module) -> Tensor:
    """The weight (outputs, inputs), in the number format that the layer computes in. Only what was quantised here."""
    kind = next(one.__name__ for one in type(layer).__mro__ if one.__name__ in BY_CLASS)
    return BY_CLASS[kind](layer).detach()


def put_into(model: nn.Module, quantised: nn.Module) -> list[str]:
    """The weights that `quantised` stands for into `model`, the same one unquantised; the names of what changed."""
    import torch
    from transformers.pytorch_utils import Conv1D

    names = []
    with torch.no_grad():
        for name, layer in layers.quantised(quantised).items():
            place = model.get_submodule(name)
            weight_OI = weight_of(layer)
            cast(Any, place).weight.copy_(weight_OI.t() if isinstance(place, Conv1D) else weight_OI)
            names.append(f"{name}.weight")
    return names
