"""What moves the weights: one or more torch optimizers under one rate. What is special has a class of its own.

In: optimizers that a maker made. Out: steps, and a state of tensors and numbers. Subclasses: `averaged` (the weights
to use are not those that are trained), `badam` (one block at a time), and here `Projected` (a low rank).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from llama_factory.errors import InputError
from llama_factory.records import Finding
from llama_factory.trainer.optimizers.groups import FACTOR
from llama_factory.trainer.optimizers.state import Facts, Number, gather, put_back

GROUPS = "groups"


class Engine:
    """Optimizers over all parameters together. objects: classes that may stand in their state, by name."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer], values: Mapping[str, Tensor], *objects: type) -> None:
        self._parts = tuple(parts)
        self._values = values
        self._names = {value: name for name, value in values.items()}
        self._objects = {cls.__name__: cls for cls in objects}
        self._fresh = [_numbers(group) for group in self._groups()]

    def step(self, rate: float) -> None:
        for group in self._groups():
            group["lr"] = rate * group[FACTOR]
        for part in self._parts:
            part.step()

    def state(self) -> tuple[dict[str, Tensor], Facts]:
        """Of the groups only what has changed since they were made: the rest are settings."""
        tensors, facts = gather(self._parts, self._names, self._objects)
        moved = [
            {key: value for key, value in _numbers(group).items() if value != fresh.get(key)}
            for group, fresh in zip(self._groups(), self._fresh, strict=True)
        ]
        return tensors, {"values": facts, GROUPS: moved} if facts or any(moved) else {}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        groups = list(self._groups())
        moved = facts.get(GROUPS) or [{}] * len(groups)
        if len(moved) != len(groups):
            raise InputError("trainer.other-optimizer-state", reason=f"{len(moved)} -> {len(groups)} {GROUPS}")
        put_back(self._parts, self._values, tensors, facts.get("values", {}), self._objects)
        for group, changed in zip(groups, moved, strict=True):
            group.update(changed)

    def result(self) -> dict[str, Tensor]:
        """The values to evaluate, save and hand out."""
        return {name: value.detach() for name, value in self._values.items()}

    def said(self) -> list[Finding]:
        """What is worth a line since the last call."""
        return []

    def _groups(self) -> Iterator[dict[str, Any]]:
        return (group for part in self._parts for group in part.param_groups)


class Projected(Engine):
    """GaLore and APOLLO. Their projection is a view into the whole decomposition: it is cut out of it."""

    def step(self, rate: float) -> None:
        super().step(rate)
        for part in self._parts:
            for entries in part.state.values():
                if "projector" in entries:
                    held = entries["projector"].ortho_matrix
                    entries["projector"].ortho_matrix = [*map(_own, held)] if isinstance(held, list) else _own(held)


def _own(tensor: Tensor) -> Tensor:
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size() and tensor.is_contiguous()
    return tensor if whole else tensor.clone(memory_format=torch.contiguous_format)


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "lr" and isinstance(value, Number)}
