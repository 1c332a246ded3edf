"""Which modules LoRA is put on, and which learn whole beside it: words of the user turned into names.

In: a module, with or without weights, and the words of `lora_target` and `additional_target`. Out: names that peft
understands, all of which exist, or a letter that says what there is. It changes nothing.

A regular expression is tried on whole names (`model.layers.3.mlp.up_proj`), as peft does, but only on those of linear
layers: what it means is found here, once, and written into adapter_config.json as plain names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from llama_factory.config.values import is_pattern
from llama_factory.errors import InputError, nearest
from llama_factory.model.methods.names import head_name, is_tied, linear_names, matches
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn


def targets_of(
    model: nn.Module, asked: tuple[str, ...], said: list[Finding], *, key: str, embeddings: bool = False
) -> list[str]:
    """Names for peft, which matches the end of a module's name: short ones where these cannot mean the head.

    embeddings: whether the method has matrices for an embedding that is named.
    """
    linear = linear_names(model)
    if not linear:
        raise InputError("model.nothing-linear", where=key, key=key, found=type(model).__name__)
    head = head_name(model)
    ends = sorted({name.rpartition(".")[2] for name in linear})
    if asked == ("all",):
        _say_experts(model, said, key)
        return linear if head is not None and head.rpartition(".")[2] in ends else ends
    if any(map(is_pattern, asked)):
        return _matching(asked, linear, head, key)
    named = [head, embedding_name(model)] if embeddings else [head]
    _known(model, asked, linear, [name for name in named if name is not None], key)
    return sorted(asked)


def whole_names(model: nn.Module, asked: tuple[str, ...], adapted: Sequence[str]) -> list[str]:
    """Full names of the modules that learn whole. adapted: what `targets_of` gave."""
    own = {name: module for name, module in model.named_modules() if any(True for _ in module.parameters())}
    ends = sorted({end for name in own if not (end := name.rpartition(".")[2]).isdigit() and end})
    found: list[str] = []
    for word in asked:
        meant = [name for name in own if matches(word, [name])]
        if not meant:
            close = nearest(word, ends)
            raise InputError(
                "model.no-such-module", where="additional_target", found=word, known=", ".join(ends), nearest=close
            )
        found += meant
    for name in found:
        inside = [one for one in own if one == name or one.startswith(f"{name}.")]
        twice = next((one for one in inside if matches_any(one, adapted)), None)
        if twice is not None:
            raise InputError("model.adapted-and-whole", where="additional_target", found=twice)
    return sorted(set(found))


def matches_any(name: str, words: Sequence[str]) -> bool:
    return any(matches(word, [name]) for word in words)


def _known(model: nn.Module, asked: Sequence[str], linear: Sequence[str], others: Sequence[str], key: str) -> None:
    """others: the head, and the embedding if it may be named."""
    ends = sorted({name.rpartition(".")[2] for name in linear})
    for word in asked:
        if word == "all":
            raise InputError("model.all-among-others", where=key, key=key, found=", ".join(asked))
        if matches(word, linear):
            continue
        if matches(word, others):
            if is_tied(model):
                raise InputError("model.lora-on-tied-head", where=key, key=key, found=word)
            continue
        close = nearest(word, [*ends, *others])
        raise InputError("model.no-such-target", where=key, key=key, found=word, known=", ".join(ends), nearest=close)


def _matching(asked: Sequence[str], linear: Sequence[str], head: str | None, key: str) -> list[str]:
    """The linear layers whose whole name is what the one regular expression says."""
    if len(asked) > 1:
        raise InputError("model.pattern-among-others", where=key, key=key, found=", ".join(asked))
    try:
        pattern = re.compile(asked[0])
    except re.error as error:
        raise InputError("model.broken-pattern", where=key, key=key, found=asked[0], reason=str(error)) from error
    if head is not None and pattern.fullmatch(head):
        raise InputError("model.pattern-means-head", where=key, key=key, found=asked[0], head=head)
    found = [name for name in linear if pattern.fullmatch(name)]
    if not found:
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        raise InputError("model.pattern-means-nothing", where=key, key=key, found=asked[0], first=linear[0], known=ends)
    return found


def embedding_name(model: nn.Module) -> str | None:
    embedding: nn.Module | None = cast(Any, model).get_input_embeddings()
    return next((name for name, module in model.named_modules() if module is embedding), None)


def _say_experts(model: nn.Module, said: list[Finding], key: str) -> None:
    """Experts that are one stacked tensor are no linear layers: `all` leaves them alone, and says so."""
    stacked = [(name, p.numel()) for name, p in model.named_parameters() if p.dim() == 3 and "expert" in name]
    if stacked:
        total = sum(p.numel() for p in model.parameters())
        share = f"{100 * sum(count for _, count in stacked) / total:.0f} %"
        said.append(Finding("model.experts-not-adapted", "warning", key, {"share": share}))
