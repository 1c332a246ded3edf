"""Which evaluation was the best so far, and whether there is still hope of a better one.

In: the figures of each evaluation. Out: whether this one is the best, and whether patience has run out.
It writes nothing: `checkpoints` keeps the weights, and the count goes into the state of every checkpoint, so that a
run that goes on stops where one left alone would have stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Best:
    """waited: evaluations in a row that were no better. patience: None waits for ever.

    threshold: a smaller gain is the new best, but no reason to wait longer.
    """

    metric: str
    greater_is_better: bool
    patience: int | None
    threshold: float
    value: float | None = None
    step: int = 0
    waited: int = 0

    def judge(self, metrics: Mapping[str, float], step: int) -> bool:
        """Whether these figures are the best so far. What is not finite never is, and neither is a tie."""
        value = metrics[self.metric]
        gain = self.gain(value, self.value)
        self.waited = 0 if gain > self.threshold else self.waited + 1
        if gain > 0:
            self.value, self.step = value, step
        return gain > 0

    def gain(self, value: float, over: float | None) -> float:
        """How much better a value is than another; over nothing, any finite one is infinitely better."""
        if not math.isfinite(value):
            return -math.inf
        if over is None:
            return math.inf
        return value - over if self.greater_is_better else over - value

    @property
    def hopeless(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "step": self.step, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """A checkpoint of a run that looked for no best one begins to look here."""
        if state:
            self.value, self.step, self.waited = state["value"], state["step"], state["waited"]
