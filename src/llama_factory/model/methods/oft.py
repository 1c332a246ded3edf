"""OFT: the input of frozen linear layers is turned by small orthogonal blocks, put there by peft.

    y = W R x,   R block-diagonal and orthogonal,   each block R = (I + Q)(I - Q)^-1 of a skew-symmetric Q

Qiu et al. 2023 (arXiv 2306.07280), eq. 4 and 5; turning the input in place of the weight is Qiu et al. 2025 (arXiv
2506.19847), as is the series of five terms that peft takes for the inverse. Q starts at zero, so the model starts as
its base.

In: a loaded model and the keys of OFT. Out: the same model with rotations in it that turn nothing yet. The rotations
stand in float32 whatever the model computes in: I + 2Q in bf16 has no room for the second order that keeps it
orthogonal. Merging is `export`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError
from llama_factory.model.methods.names import is_conv1d, linear_names
from llama_factory.model.methods.start import Made, Start
from llama_factory.model.methods.targets import matches_any, targets_of
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method

WEIGHT = ".oft_R."
"""What the name of every trained weight has in it."""


def look(model: nn.Module, method: Method) -> None:
    _checked(model, method, [])


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    import torch
    from peft import OFTConfig, inject_adapter_in_model

    settings, said = method.oft, list[Finding]()
    config = OFTConfig(
        r=settings.oft_rank,
        oft_block_size=settings.block_size,
        target_modules=_checked(model, method, said),
        module_dropout=settings.module_dropout,
        task_type="CAUSAL_LM",
    )
    inject_adapter_in_model(config, cast(Any, model))
    finish(model, settings.module_dropout)
    for name, parameter in model.named_parameters():
        if WEIGHT in name:
            parameter.data = parameter.data.to(torch.float32)
            parameter.requires_grad_(True)
    return Made(model, said)


def finish(model: nn.Module, module_dropout: float) -> None:
    """What peft leaves out of its layers."""
    from llama_factory.model import upstream

    if module_dropout:
        upstream.drop_rotations(model, module_dropout)


def _checked(model: nn.Module, method: Method, said: list[Finding]) -> list[str]:
    """The names for peft, once it is known that blocks of this size fill every layer.

    peft takes the nearest size that does, and only warns: other weights than were asked for.
    """
    settings = method.oft
    targets = targets_of(model, tuple(settings.oft_target), said, key="oft_target")
    for name in linear_names(model):
        if not matches_any(name, targets):
            continue
        layer = cast(Any, model.get_submodule(name))
        if is_conv1d(layer):
            raise InputError("model.oft-on-conv", where="oft_target", found=name)
        key = "oft_rank" if settings.oft_rank else "oft_block_size"
        asked, width = settings.oft_rank or settings.oft_block_size, int(layer.in_features)
        if asked > width or width % asked:
            known = [str(it) for it in range(2, min(width, 256) + 1) if width % it == 0]
            values = {"key": key, "asked": asked, "width": width, "known": ", ".join(known)}
            raise InputError("model.oft-block-size", where=name, **values)
    return targets
