"""What a loss returns: a sum that gradients flow through, and what that sum will be divided by.

In: what a loss made of each token, and how much each counts. Out: `Term`. It does not divide: the mean of one
micro-batch is not a part of the mean of the step, the sum is. Division happens once, in `trainer.accumulate`, by the
count of the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One named part of an objective, over one micro-batch.

    sum: a scalar in float32; the contribution of this micro-batch, not yet divided.
    count: what this micro-batch adds to the step's divisor (weights of tokens, number of pairs, ...).
    weight: the factor of this term in the step's loss: loss = sum over terms of weight * sum / count.
    """

    sum: Tensor
    count: float
    weight: float = 1.0


def weighed(loss_S: Tensor, weight_S: Tensor, *, weight: float = 1.0) -> Term:
    """sum = sum_s w_s loss_s, count = sum_s w_s. weight: the factor of the whole term."""
    if loss_S.shape != weight_S.shape:
        raise ValueError(f"the tokens' losses have shape {tuple(loss_S.shape)}, weight_S {tuple(weight_S.shape)}")
    total = (loss_S.float() * weight_S).sum()
    return Term(sum=total, count=float(weight_S.sum(dtype=torch.float64)), weight=weight)
