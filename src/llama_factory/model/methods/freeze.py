"""Freeze: some of the layers learn, all else stays as it is.

In: a model and the keys of freeze. Out: the same model, its parameters marked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llama_factory.errors import InputError
from llama_factory.model.methods.names import has_part, known_parts, layers
from llama_factory.model.methods.start import Made, Start

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method


def look(model: nn.Module, method: Method) -> None:
    _choose(model, method)


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    _choose(model, method)
    return Made(model, [])


def _choose(model: nn.Module, method: Method) -> None:
    """Let the chosen layers learn, and what is named beside them."""
    settings = method.freeze
    prefix, count = layers(model)
    number = int(settings.freeze_trainable_layers)
    if number == 0 or abs(number) > count:
        raise InputError("model.freeze-layers", where="freeze_trainable_layers", found=number, layers=count)
    chosen = range(count - number, count) if number > 0 else range(-number)
    inside = re.compile(re.escape(prefix) + r"\.(\d+)\.(.+)")
    named = dict(model.named_parameters(remove_duplicate=False))
    in_layers = {name: found for name in named if (found := inside.fullmatch(name))}
    words = tuple(settings.freeze_trainable_modules)
    if words != ("all",):
        known_parts(words, [found[2] for found in in_layers.values()], "freeze_trainable_modules")
    for name, found in in_layers.items():
        if int(found[1]) in chosen and (words == ("all",) or any(has_part(found[2], word) for word in words)):
            named[name].requires_grad_(True)
    outside = [name for name in named if name not in in_layers]
    extra = tuple(settings.freeze_extra_modules)
    known_parts(extra, outside, "freeze_extra_modules")
    for name in outside:
        if any(has_part(name, word) for word in extra):
            named[name].requires_grad_(True)
