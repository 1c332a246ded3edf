"""Products with a weight that does not change, in either direction.

In: a weight (O, I) of a linear layer. Out: x W' and dy W. Where the processor's library knows a better order of the
numbers than rows and columns, a weight that is used in every step is brought into it once, for each direction, in
place of every time: the same numbers come out, sooner (with a few dozen rows and columns the last bit may differ).
That takes twice the weight's memory, so it is done only where that is a small part of what is free.

It knows no adapters and no gradients of weights: those that learn are never laid out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from llama_factory import machine
from llama_factory.model import upstream

SHARE = 8
"""At most one part in so many of the free memory goes into weights laid out."""

ROWS = 1024
"""Rows of a product that the order is chosen for; from a few hundred on it is the same order."""


class Frozen:
    """A weight and, once it is laid out, its two other orders.

    The weight itself stays what is saved and merged; until then it need not lie in memory.
    """

    def __init__(self, weight_OI: Tensor) -> None:
        self.weight_OI = weight_OI
        self._seen: tuple[int, int] | None = None
        self._there: Tensor | None = None
        self._back: Tensor | None = None

    def lay_out(self) -> None:
        weight_OI = self.weight_OI.detach()
        self._there = upstream.weight_laid_out(weight_OI, ROWS)
        self._back = upstream.weight_laid_out(weight_OI.t(), ROWS)
        self._seen = _state(self.weight_OI)
        machine.set_aside(weight_OI.data_ptr(), weight_OI.numel() * weight_OI.element_size())

    def through(self, x_TI: Tensor) -> Tensor:
        """x W', a new tensor (T, O)."""
        if self._there is None or self._seen != _state(self.weight_OI):
            return x_TI @ self.weight_OI.t()
        return upstream.linear_laid_out(x_TI, self._there)

    def back(self, dy_TO: Tensor, onto_TI: Tensor | None = None) -> Tensor:
        """dy W, and what it is added onto: a new tensor (T, I)."""
        if self._back is None or self._seen != _state(self.weight_OI):
            return dy_TO @ self.weight_OI if onto_TI is None else torch.addmm(onto_TI, dy_TO, self.weight_OI)
        return upstream.linear_laid_out(dy_TO, self._back, onto_TI)

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        return Frozen(copy.deepcopy(self.weight_OI, memo))


def lay_out(weights: Iterable[Frozen], free_bytes: int) -> int:
    """Lay out all of these weights if they can be and memory allows it; the bytes that this took."""
    listed = list(weights)
    size = would_take(sum(one.weight_OI.numel() * one.weight_OI.element_size() for one in listed), free_bytes)
    if not size or not all(_may(one.weight_OI) for one in listed):
        return 0
    for one in listed:
        one.lay_out()
    return size


def would_take(weight_bytes: int, free_bytes: int) -> int:
    """Bytes for the two orders of so many bytes of weights; 0 where that is too much."""
    return 2 * weight_bytes if 2 * weight_bytes * SHARE <= free_bytes else 0


def _may(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and weight.dim() == 2
        and not weight.requires_grad and upstream.can_lay_out()
    )  # fmt: skip


def _state(weight: Tensor) -> tuple[int, int]:
    """Another one when the weight was exchanged, or changed otherwise than through `.data`."""
    return weight.data_ptr(), weight._version
