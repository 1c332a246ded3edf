"""PiSSA: LoRA that begins with the strongest directions of each weight.

    W = s B0 A0 + rest,   y = W x + s (B A - B0 A0) x,   A and B begin as A0 and B0

Meng et al. 2024 (arXiv 2404.02948), eq. 2 and 3: A0 = sqrt(S / s) V' and B0 = U sqrt(S / s) of the r largest singular
values. The paper (and peft) puts the rest in the place of W, which rounds it, and leaves an adapter that is right on no
base but that one. Here W stays as it is, and B0 A0 is a second adapter, frozen, that is taken off: the same function
and the same gradients. What is saved is both as one, an ordinary adapter of twice the rank on the base as published.

In: a model with LoRA on it. Out: the same, begun so. The numbers depend on the weights and the seed alone; they are
found in float64, so that a run that goes on elsewhere finds the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError
from llama_factory.model.methods.directions import strongest

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Generator, Tensor, nn

START = "start"
"""What peft calls the frozen adapter."""


def begin(model: nn.Module, config: LoraConfig, rounds: int, generator: Generator, trained: str) -> None:
    """Give the adapter `trained` its start, and take that off again by a frozen one beside it."""
    import torch
    from peft.tuners.lora import LoraLayer

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    for name, layer in layers:
        if trained not in layer.lora_A or not _is_plain(layer):
            raise InputError("model.pissa-not-here", where="pissa_init", found=name)
    _put_beside(model, config, trained)
    with torch.no_grad():
        for _, layer in layers:
            weight = layer.get_base_layer().weight
            weight_OI = (weight.t() if layer.fan_in_fan_out else weight).double()
            left_OR, right_RI = strongest(weight_OI, layer.r[trained], rounds, generator, key="pissa_init")
            share = layer.scaling[trained] ** -0.5
            for half, values in ((layer.lora_A, right_RI * share), (layer.lora_B, left_OR * share)):
                half[trained].weight.copy_(values)
                half[START].weight.data = half[trained].weight.detach().clone()
            layer.lora_B[START].weight.neg_()
            layer.set_adapter([trained, START])
    for name, parameter in model.named_parameters():
        if f".{START}." in name:
            parameter.requires_grad_(False)


def joined(values: Mapping[str, Tensor], trained: str) -> dict[str, Tensor]:
    """Tensors by the module's names, the frozen start taken into the adapter that was trained."""
    import torch

    found: dict[str, Tensor] = {}
    for name, value in values.items():
        start = values.get(name.replace(f".{trained}.", f".{START}."))
        if f".{START}." in name:
            continue
        side = 0 if ".lora_A." in name else 1
        if start is None or start is value:
            found[name] = value
        else:
            found[name] = torch.cat([value.detach().float(), start.detach().float()], side)
    return found


def parted(values: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Of tensors by the names of peft's file what was trained."""
    sides = {".lora_A.weight": slice(rank), ".lora_B.weight": (slice(None), slice(rank))}
    return {
        key: next((value[part] for end, part in sides.items() if key.endswith(end)), value)  # type: ignore[index]
        for key, value in values.items()
    }


def has_begun(model: nn.Module) -> bool:
    """Whether `begin` was here; a model that learns by another method has no adapters at all."""
    return START in getattr(model, "peft_config", {})


def _is_plain(layer: Any) -> bool:
    """Whether the layer's weight is a matrix of numbers that can be taken apart."""
    from llama_factory.model.quantised.layers import is_quantised

    base = layer.get_base_layer()
    return not is_quantised(base) and bool(base.weight.is_floating_point()) and base.weight.dim() == 2


def _put_beside(model: nn.Module, config: LoraConfig, trained: str) -> None:
    """An adapter of the same layers; what learns whole beside them stays at work, which peft would switch off."""
    import copy
    import warnings

    from peft import inject_adapter_in_model
    from peft.utils import ModulesToSaveWrapper

    frozen = copy.copy(config)
    frozen.lora_dropout, frozen.lora_bias, frozen.modules_to_save = 0.0, False, None
    frozen.inference_mode = True
    with warnings.catch_warnings():
        # A second adapter beside the first is what was asked for.
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        inject_adapter_in_model(frozen, cast(Any, model), adapter_name=START)
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.set_adapter(trained)
