"""Freeze: some of the layers learn, all else stays as it is. With LLaMA Pro these are new ones between the old.

In: a model and the keys of freeze. Out: the same model, its parameters marked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError
from llama_factory.model import expansion
from llama_factory.model.methods.names import has_part, known_parts, layers
from llama_factory.model.methods.start import Made, Start
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method


def look(model: nn.Module, method: Method) -> None:
    settings = method.freeze
    if settings.use_llama_pro and settings.llama_pro_blocks:
        expansion.check(layers(model)[1], settings.llama_pro_blocks)
    else:
        _choose(model, method, _layers_that_learn(model, method, 0))


def attach(model: nn.Module, method: Method, start: Start) -> Made:
    wanted = (method.freeze.llama_pro_blocks or 0) if method.freeze.use_llama_pro else 0
    if wanted and expansion.already(start.base_folder) != wanted:
        expansion.expand(model, wanted)
    _choose(model, method, _layers_that_learn(model, method, wanted))
    return Made(model, _vocabulary(model) if start.new_ids else [])


def _vocabulary(model: nn.Module) -> list[Finding]:
    """Let the embedding and the head learn, in which new tokens have their rows."""
    whole = cast(Any, model)
    for module in (whole.get_input_embeddings(), whole.get_output_embeddings()):
        module.weight.requires_grad_(True)
    return [Finding("model.vocabulary-learns", "note", "add_tokens")]


def _layers_that_learn(model: nn.Module, method: Method, blocks: int) -> Collection[int]:
    """blocks: of LLaMA Pro, which are there by now."""
    settings, count = method.freeze, layers(model)[1]
    number = int(settings.freeze_trainable_layers)
    if settings.use_llama_pro:
        blocks = blocks or number  # nothing was put in: the last layer of each group is new
        if blocks < 1 or count % blocks or count == blocks:
            raise InputError("model.pro-layers", where="freeze_trainable_layers", found=blocks, layers=count)
        group = count // blocks
        return range(group - 1, count, group)
    if abs(number) > count or not (number or settings.freeze_extra_modules):
        raise InputError("model.freeze-layers", where="freeze_trainable_layers", found=number, layers=count)
    return range(count - number, count) if number > 0 else range(-number)


def _choose(model: nn.Module, method: Method, chosen: Collection[int]) -> None:
    """Let the chosen layers learn, and what is named beside them."""
    settings = method.freeze
    prefix, _ = layers(model)
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
