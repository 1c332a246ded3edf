"""The state of any torch optimizer as named tensors and JSON, and back, exact to the bit.

In: the optimizers of a run, and the names of their parameters. Out: `kind/name` -> tensor, and facts: numbers, flags
and words. A parameter's entry may be a tensor, a number, a list of these, or an object of a class that the optimizer's
maker named (`objects`), whose attributes are treated alike. Anything else is refused: nothing is pickled, and a word
of a file finds no class but these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from llama_factory.errors import InputError, OurFault

Facts = dict[str, Any]
Number = (int, float, bool, str, type(None))

WITHIN = "."
"""Between the parts of a kind: `projector.ortho_matrix/<name>`."""


class Saved:
    """Gathers what is found. Tensors that share memory are copied, so that each stands alone in the file."""

    def __init__(self, objects: Mapping[str, type]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.facts: Facts = {}
        self._objects = objects
        self._memory: set[int] = set()

    def add(self, kind: str, name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            tensor = value.detach()
            own = tensor.untyped_storage()
            if own.data_ptr() in self._memory or own.nbytes() != tensor.numel() * tensor.element_size():
                tensor = tensor.clone(memory_format=torch.contiguous_format)
            self._memory.add(tensor.untyped_storage().data_ptr())
            self.tensors[f"{kind}/{name}"] = tensor
        elif isinstance(value, Number):
            self.facts.setdefault(name, {})[kind] = value
        elif isinstance(value, (list, tuple)):
            self.facts.setdefault(name, {})[f"{kind}{WITHIN}#"] = len(value)
            for place, one in enumerate(value):
                self.add(f"{kind}{WITHIN}{place}", name, one)
        elif type(value).__name__ in self._objects:
            self.facts.setdefault(name, {})[f"{kind}{WITHIN}@"] = type(value).__name__
            for attribute, one in vars(value).items():
                self.add(f"{kind}{WITHIN}{attribute}", name, one)
        else:
            raise OurFault("trainer.state-not-plain", found=name, what=f"{kind}: {type(value).__name__}")


def gather(
    states: Sequence[torch.optim.Optimizer], names: Mapping[Tensor, str], objects: Mapping[str, type]
) -> tuple[dict[str, Tensor], Facts]:
    """What the optimizers keep for each parameter; nothing for one that was never touched."""
    saved = Saved(objects)
    for optimizer in states:
        for value, entries in optimizer.state.items():
            for kind, entry in entries.items():
                saved.add(kind, names[value], entry)
    return saved.tensors, saved.facts


def put_back(
    states: Sequence[torch.optim.Optimizer],
    values: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Mapping[str, Any]],
    objects: Mapping[str, type],
) -> None:
    """The reverse of `gather`, into optimizers over `values`."""
    owner = {value: one for one in states for group in one.param_groups for value in group["params"]}
    found: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name not in values:
            raise InputError("trainer.other-optimizer-state", reason=key)
        found.setdefault(name, {})[kind] = _beside(tensor, values[name])
    for name, entries in facts.items():
        if name not in values:
            raise InputError("trainer.other-optimizer-state", reason=name)
        found.setdefault(name, {}).update(entries)
    for one in states:
        one.state.clear()
    for name, value in values.items():
        if name in found and value in owner:
            owner[value].state[value] = _built(found[name], objects)


def _beside(tensor: Tensor, value: Tensor) -> Tensor:
    """A copy on the value's device, and laid out as it is where the shapes agree."""
    if tensor.shape == value.shape:
        return torch.empty_like(value, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
    return tensor.to(value.device).clone()


def _built(entries: Mapping[str, Any], objects: Mapping[str, type]) -> dict[str, Any]:
    """`{"a.#": 2, "a.0": x, "a.1": y}` -> `{"a": [x, y]}`, and objects from their attributes."""
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(kind.partition(WITHIN)[0] for kind in entries):
        inner = {key.partition(WITHIN)[2]: value for key, value in _below(kind, entries)}
        if not inner:
            found[kind] = entries[kind]
            continue
        length, cls = inner.pop("#", None), inner.pop("@", None)
        parts = _built(inner, objects)
        if length is not None:
            found[kind] = [parts[str(place)] for place in range(length)]
        elif cls in objects:
            made: Any = object.__new__(objects[cls])
            vars(made).update(parts)
            found[kind] = made
        else:
            raise InputError("trainer.other-optimizer-state", reason=f"{kind}: {cls}")
    return found


def _below(kind: str, entries: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in entries.items() if key.startswith(f"{kind}{WITHIN}"))
