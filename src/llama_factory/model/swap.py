"""Modules of a model replaced by ours that compute the same in one piece.

In: a model, and what makes ours out of one of its modules. Out: the same model, changed in place, names of weights
as before. A module is not known by its class or its names alone: each is computed both ways on random numbers,
forward and backward, and left alone where they differ by more than rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from llama_factory.model import upstream

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""Largest difference between two ways of computing the same, as a share of the largest value."""


def swap(model: nn.Module, made_of: Callable[[nn.Module], tuple[nn.Module, Tensor] | None]) -> int:
    """Put ours wherever `made_of` makes one and it agrees; how many that were.

    made_of: ours, and a weight whose last axis is as wide as the input; None for a module that is something else.
    """
    count = 0
    for parent in list(model.modules()):
        for name, theirs in list(parent.named_children()):
            made = made_of(theirs) if bare(theirs) else None
            if made is not None and _agree(theirs, *made):
                setattr(parent, name, made[0])
                count += 1
    return count


def bare(module: nn.Module) -> bool:
    """No hook hangs on it that would not be called any more."""
    before, after = module._forward_pre_hooks or module._backward_pre_hooks, module._forward_hooks
    return not (before or after or module._backward_hooks)


def _agree(theirs: nn.Module, ours: nn.Module, weight: Tensor) -> bool:
    training = theirs.training
    try:
        return _same_numbers(theirs.eval(), ours.eval(), weight)
    finally:
        theirs.train(training)
        ours.train(training)


def _same_numbers(theirs: nn.Module, ours: nn.Module, weight: Tensor) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2, weight.shape[-1])
    x, dy = (torch.randn(shape, generator=generator).to(weight.device, weight.dtype) for _ in range(2))
    results = []
    for module in (theirs, ours):
        leaf = x.clone().requires_grad_(True)
        try:
            y = module(leaf)
            results.append((y.detach(), *upstream.gradients(y, [leaf], dy)))
        except (TypeError, RuntimeError):  # it takes more than one tensor, or another shape
            return False
    return all(same_but_for_rounding(one, other) for one, other in zip(*results, strict=True))


def same_but_for_rounding(one: Tensor, other: Tensor) -> bool:
    """`other` is what `one` is, within ROUNDING of the largest value in `one`."""
    allowed = ROUNDING[one.dtype] * float(one.abs().max())
    return one.dtype == other.dtype and float((one - other).abs().max()) <= allowed
