"""8, 4, 3 and 2 bits by HQQ (Badri & Shaji 2023), layer by layer.

In: a loaded model. Out: the same model with `HQQLinear` in the place of every linear layer but the head.
transformers 5.18 refuses its own HqqConfig ("not available yet"), so the layers are made here; the model lies in
memory whole for that, and each layer's plain weights go when its quantised ones are there.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, cast

from llama_factory.config.bits import HQQ_GROUP
from llama_factory.errors import InputError
from llama_factory.model.quantised.asked import Asked

if TYPE_CHECKING:
    from torch import nn

PACKAGES = ("hqq", "einops", "termcolor")
SMALLEST_GROUP = 8
"""Below this, scales and offsets take more than the weights."""


def arguments(asked: Asked, dtype: str, device: str) -> dict[str, Any]:
    """It is loaded as it is."""
    return {}


def finish(model: nn.Module, asked: Asked, dtype: str, device: str) -> nn.Module:
    """Quantise in place, on `device`."""
    import torch
    from torch import nn

    with warnings.catch_warnings():  # torch's own parts, which hqq loads, warn of each other
        warnings.simplefilter("ignore")
        from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    head = cast(Any, model).get_output_embeddings()
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear) and part is not head]
    if not found:
        raise InputError("model.quantised-nothing", where=type(model).__name__, method="hqq")
    groups = {name: group_for(layer.in_features, name) for name, layer in found}
    for name, layer in found:
        config = BaseQuantizeConfig(nbits=asked.bits, group_size=groups[name], axis=1)
        with torch.no_grad():
            made = HQQLinear(layer, config, compute_dtype=getattr(torch, dtype), device=device)
        made.requires_grad_(False)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, made)
    return model.to(device)


def group_for(inputs: int, where: str) -> int:
    """The largest group of at most HQQ_GROUP weights that fits into a row a whole number of times."""
    group = HQQ_GROUP
    while group >= SMALLEST_GROUP:
        if inputs % group == 0:
            return group
        group //= 2
    raise InputError("model.quantised-group", where=where, inputs=inputs, smallest=SMALLEST_GROUP)
