"""Adapters melt into their base, and the result is written under the base's own names.

In: a module in float32 with LoRA or OFT on it. Out: the same module without, W + scaling * B @ A (for DoRA, with each
row brought to its length) or W R in the place of W, modules and rows that were trained whole in the place of the
base's, and weight files with the keys, the order and the dtypes of the base. The sum is taken in float32 and rounded
once, when it is written; a weight that no adapter touched leaves with the very bits that it came with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import ProofError
from llama_factory.model import vocabulary, weights, whole
from llama_factory.model.quantised import guards

if TYPE_CHECKING:
    from torch import Tensor, nn


def adapted(model: nn.Module) -> dict[str, Any]:
    """By name: the layers that carry an adapter, and the modules that were trained whole."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper

    kinds = (BaseTunerLayer, ModulesToSaveWrapper, TrainableTokensWrapper)
    inside = [f"{name}." for name, module in model.named_modules() if isinstance(module, TrainableTokensWrapper)]
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, kinds) and not name.startswith(tuple(inside))
    }


def is_zero(layers: Mapping[str, Any]) -> bool:
    """Whether the adapters change nothing at all: B, or a rotation's Q, is zero where it has never been trained."""
    return not any(_changes(layer) for layer in layers.values())


def _changes(layer: Any) -> bool:
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper

    if isinstance(layer, TrainableTokensWrapper):
        rows = layer.token_adapter
        own = rows.trainable_tokens_delta
        return any(not torch.equal(own[name], rows.trainable_tokens_original[name]) for name in own)
    if isinstance(layer, ModulesToSaveWrapper):
        own, base = whole.trained(layer).state_dict(), layer.original_module.state_dict()
        return any(not torch.equal(own[name], base[name]) for name in base)
    if not isinstance(layer, LoraLayer):
        return any(bool(rotation.weight.any()) for rotation in layer.oft_R.values())
    pairs = [(layer.lora_A[name].weight, layer.lora_B[name].weight) for name in layer.lora_A]
    pairs += [(layer.lora_embedding_A[name], layer.lora_embedding_B[name]) for name in layer.lora_embedding_A]
    biases = [half.bias for half in layer.lora_B.values() if half.bias is not None]
    return any(bool(a.any()) and bool(b.any()) for a, b in pairs) or any(bool(bias.any()) for bias in biases)


def merge(model: nn.Module, layers: Mapping[str, Any]) -> tuple[str, ...]:
    """Merge, with peft's own arithmetic, and take the adapters off. Returns the names of the weights changed."""
    from peft.tuners.lora import LoraLayer
    from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper

    guards.refuse_merge(layers)
    changed: list[str] = []
    for name, layer in layers.items():
        if isinstance(layer, TrainableTokensWrapper):
            plain, parts = _with_rows(name, layer), ["weight"]
        elif isinstance(layer, ModulesToSaveWrapper):
            plain, parts = whole.trained(layer), [part for part, _ in layer.original_module.named_parameters()]
        else:
            biased = isinstance(layer, LoraLayer) and any(layer.lora_bias.values())
            plain, parts = _merged(name, layer), ["weight", "bias"] if biased else ["weight"]
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, plain)
        changed += [f"{name}.{part}" for part in parts]
    own = dict(model.named_parameters())  # of two names of one weight only the first
    return tuple(name for name in changed if name in own)


def _with_rows(name: str, layer: Any) -> nn.Module:
    """The embedding or the head with the rows that were trained in it."""
    try:
        plain = layer.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
    except ValueError as error:
        raise ProofError("export.not-finite", where=name) from error
    return cast("nn.Module", plain)


def _merged(name: str, layer: Any) -> nn.Module:
    try:
        layer.merge(safe_merge=True)
    except ValueError as error:
        raise ProofError("export.not-finite", where=name) from error
    return cast("nn.Module", layer.get_base_layer())


def dtypes_of(base: Path, infer_dtype: str) -> dict[str, str]:
    """The torch dtype to write each floating tensor in: its own in the base's files, or the one asked for."""
    known = weights.entries(base)
    return {
        key: weights.TORCH_NAMES[entry.dtype] if infer_dtype == "auto" else infer_dtype
        for key, entry in known.items()
        if entry.is_float
    }


def write(
    model: nn.Module,
    base: Path,
    folder: Path,
    *,
    dtypes: Mapping[str, str],
    shard_bytes: int,
    grown: vocabulary.Growth | None = None,
) -> int:
    """Write the model's weights, read them back bit for bit; returns how many differ from the base's.

    grown: what was done to the vocabulary.
    """
    known = weights.entries(base)
    state = weights.of_module(model, known)
    known = vocabulary.entries(known, state, grown)
    weights.write(base, state, folder, dtypes=dtypes, shard_bytes=shard_bytes, known=known)
    return _read_back(state, base, folder, dtypes)


def _read_back(state: Mapping[str, Tensor], base: Path, folder: Path, dtypes: Mapping[str, str]) -> int:
    import torch

    expected = set(weights.entries(base))
    found = weights.entries(folder)
    if set(found) != expected:
        odd = sorted(set(found) ^ expected)
        raise ProofError("export.other-keys", where=folder.name, count=len(odd), found=", ".join(odd[:5]))
    before = _Reader(base)
    changed = 0
    for key, value in weights.read(folder):
        old = weights.cast(before(key), dtypes.get(key))
        new = weights.cast(state[key].cpu(), dtypes.get(key)) if key in state else old
        if value.dtype != new.dtype or not torch.equal(value, new):
            raise ProofError("export.written-wrong", where=key)
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ProofError("export.not-finite", where=key)
        changed += not torch.equal(value, old)
    return changed


class _Reader:
    """Single tensors of a folder, its files opened once."""

    def __init__(self, folder: Path) -> None:
        self._entries = weights.entries(folder)
        self._open: dict[Path, Any] = {}

    def __call__(self, key: str) -> Tensor:
        from safetensors import safe_open

        file = self._entries[key].file
        if file not in self._open:
            self._open[file] = safe_open(file, framework="pt")
        return cast("Tensor", self._open[file].get_tensor(key))
