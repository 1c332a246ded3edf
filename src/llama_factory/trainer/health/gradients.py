"""The norm of the gradient: cut to a fraction on nearly every step, or growing without end while nothing is learned.

In: norm and loss of every step. Out: findings. That gradients are clipped is usual and says nothing; that nine in ten
are cut to less than a tenth for a hundred steps does.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from llama_factory.records import Finding
from llama_factory.trainer.health.signs import Sign
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import Progress
from llama_factory.trainer.schedule import warmup_updates

STEPS = 100
"""Looked at together, the warm-up not counted."""
CUT, CUT_SHARE = 10.0, 0.9
"""Times `max_grad_norm`, in this share of the steps."""
GROWN = 10.0
"""Times the median norm of the first STEPS, while the loss is no lower than it was then."""


class Gradients(Sign):
    def __init__(self, plan: FitPlan, total_steps: int) -> None:
        super().__init__()
        self._limit = plan.max_grad_norm
        self._warmup = warmup_updates(total_steps, warmup_steps=plan.warmup_steps, warmup_ratio=plan.warmup_ratio)
        self._norms: list[float] = []
        self._losses: list[float] = []
        self._first: tuple[float, float] | None = None

    def stepped(self, progress: Progress) -> Iterator[Finding]:
        """A hundred steps are gathered, judged and forgotten."""
        if progress.step <= self._warmup:
            return
        self._norms.append(progress.grad_norm)
        self._losses.append(progress.loss)
        if len(self._norms) == STEPS:
            yield from self._judge(progress.step)
            self._norms, self._losses = [], []

    def _judge(self, step: int) -> Iterator[Finding]:
        norm, loss = median(self._norms), median(self._losses)
        if self._first is None:
            self._first = norm, loss
        then, loss_then = self._first
        values = {"step": step, "norm": f"{norm:.3g}", "steps": STEPS, "limit": f"{self._limit:g}",
                  "then": f"{then:.3g}"}  # fmt: skip
        if norm > GROWN * then and loss >= loss_then:
            yield from self.once("trainer.gradient-grows", values)
        elif self._limit > 0 and sum(one > CUT * self._limit for one in self._norms) >= CUT_SHARE * STEPS:
            yield from self.once("trainer.gradient-always-cut", values)
