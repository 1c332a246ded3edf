"""LoRA: small matrices beside frozen linear layers, put there by peft.

In: a loaded model and the keys of LoRA. Out: the same model with adapters in it that change nothing yet. The layers
that compute an adapter and its layer in one piece stand in `model/lora.py`. Merging is `export`'s.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, nearest
from llama_factory.model.methods.names import (
    head_name,
    is_conv1d,
    is_tied,
    linear_names,
    matches,
)  # fmt: skip
from llama_factory.model.methods.start import Made, Start
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method


def look(model: nn.Module, method: Method) -> None:
    targets_of(model, tuple(method.lora.lora_target), [], key="lora_target")


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    from llama_factory.model import lora

    settings, said = method.lora, list[Finding]()
    targets = targets_of(model, tuple(settings.lora_target), said, key="lora_target")
    rank = int(settings.lora_rank)
    alpha = int(settings.alpha)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(is_conv1d(module) for module in model.modules()),
    )
    if start.fused:
        lora.use_fused(config, model)
    inject_adapter_in_model(config, cast(Any, model))
    generator = torch.Generator().manual_seed(start.seed)
    dtype = getattr(torch, start.compute_dtype)
    for name, parameter in sorted(_lora_parameters(model)):
        # kaiming_uniform with a = sqrt(5) is uniform within 1 / sqrt(fan_in): peft's own start, drawn here from
        # a generator of our own so that the same seed gives the same adapter whatever ran before.
        if ".lora_A." in name:
            bound = 1 / math.sqrt(parameter.shape[1])
            values = torch.empty(parameter.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
        else:
            values = torch.zeros(parameter.shape, dtype=torch.float32)
        parameter.data = values.to(device=parameter.device, dtype=dtype)
        parameter.requires_grad_(True)
    return Made(model, said)


def _lora_parameters(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in model.named_parameters() if ".lora_A." in name or ".lora_B." in name]


def targets_of(model: nn.Module, asked: tuple[str, ...], said: list[Finding], *, key: str) -> list[str]:
    """Names for peft, which matches the end of a module's name: short ones where these cannot mean the head."""
    linear = linear_names(model)
    if not linear:
        raise InputError("model.nothing-linear", where=key, key=key, found=type(model).__name__)
    head = head_name(model)
    ends = sorted({name.rpartition(".")[2] for name in linear})
    if asked == ("all",):
        _say_experts(model, said, key)
        return linear if head is not None and head.rpartition(".")[2] in ends else ends
    choices = [*ends, *([head] if head else [])]
    for word in asked:
        if word == "all":
            raise InputError("model.all-among-others", where=key, key=key, found=", ".join(asked))
        if matches(word, linear):
            continue
        if head is not None and matches(word, [head]):
            if is_tied(model):
                raise InputError("model.lora-on-tied-head", where=key, key=key, found=word)
            continue
        close = nearest(word, choices)
        raise InputError("model.no-such-target", where=key, key=key, found=word, known=", ".join(ends), nearest=close)
    return sorted(asked)


def _say_experts(model: nn.Module, said: list[Finding], key: str) -> None:
    """Experts that are one stacked tensor are no linear layers: `all` leaves them alone, and says so."""
    stacked = [(name, p.numel()) for name, p in model.named_parameters() if p.dim() == 3 and "expert" in name]
    if stacked:
        total = sum(p.numel() for p in model.parameters())
        share = f"{100 * sum(count for _, count in stacked) / total:.0f} %"
        said.append(Finding("model.experts-not-adapted", "warning", key, {"share": share}))
