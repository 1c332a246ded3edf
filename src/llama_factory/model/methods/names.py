"""The parts of a model by name: linear layers, the head, the list of layers, and words that mean some of them.

In: a module of transformers, with or without weights. Out: names as in `named_modules()` and `named_parameters()`,
or a letter that names what comes nearest. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, nearest
from llama_factory.model.quantised.layers import is_quantised

if TYPE_CHECKING:
    from torch import nn


def linear_names(model: nn.Module) -> list[str]:
    """Full names of all linear layers but the output head."""
    head = head_name(model)
    return [name for name, module in model.named_modules() if is_linear(module) and name != head]


def is_conv1d(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def is_linear(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear) or is_conv1d(module) or is_quantised(module)


def head_name(model: nn.Module) -> str | None:
    head: nn.Module | None = cast(Any, model).get_output_embeddings()
    for name, module in model.named_modules():
        if head is not None and module is head:
            return str(name)
    return None


def is_tied(model: nn.Module) -> bool:
    head, embedding = cast(Any, model).get_output_embeddings(), cast(Any, model).get_input_embeddings()
    return bool(head is not None and embedding is not None and head.weight is embedding.weight)


def matches(word: str, names: Iterable[str]) -> bool:
    return any(name == word or name.endswith(f".{word}") for name in names)


def layers(model: nn.Module) -> tuple[str, int]:
    """Name and length of the list of layers: the one as long as the configuration says."""
    from torch import nn

    count = int(cast(Any, model).config.get_text_config().num_hidden_layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, count
    raise InputError("model.no-layers", where="freeze_trainable_layers", found=type(model).__name__, layers=count)


def has_part(name: str, word: str) -> bool:
    return f".{word}." in f".{name}."


def known_parts(words: Sequence[str], names: Sequence[str], key: str) -> None:
    known = sorted({part for name in names for part in name.split(".") if part not in ("weight", "bias")})
    known = [part for part in known if not part.isdigit()]
    for word in words:
        if not any(has_part(name, word) for name in names):
            close = nearest(word, known)
            raise InputError("model.no-such-part", where=key, found=word, known=", ".join(known), nearest=close)
