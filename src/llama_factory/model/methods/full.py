"""Full: every weight of the model learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_factory.model.methods.start import Made, Start

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method


def look(model: nn.Module, method: Method) -> None:
    """Every model has weights."""


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return Made(model, [])
