"""What a loss returns: a sum that gradients flow through, and what that sum will be divided by.

In: nothing. Out: `Term`. It does not divide: the mean of one micro-batch is not a part of the mean of
the step, the sum is. Division happens once, in `trainer.accumulate`, by the count of the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass

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
