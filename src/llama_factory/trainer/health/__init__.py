"""The health of a run: what is noticed while it goes on, each said once, with what was measured and what to change.

One file a sign. In: what the loop tells at steps, log lines and evaluations; a look at the weights on log steps. Out:
findings. Deliberately changes nothing and stops nothing, and costs nothing that could be measured on a usual step.
"""

from __future__ import annotations

from collections.abc import Iterator

from llama_factory.records import Finding
from llama_factory.trainer.health.gradients import Gradients
from llama_factory.trainer.health.learning import KnownBefore, Overfitting, Trend
from llama_factory.trainer.health.signs import Sign
from llama_factory.trainer.health.spikes import Spikes
from llama_factory.trainer.health.updates import Updates
from llama_factory.trainer.health.use import Idle, Sagging, TightMemory
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import Evaluation, Progress

SPIKES_NAMED = 10
"""In one run; a run with more of them is not mended row by row."""


class Health:
    """All signs. threads: that torch computes with. spikes, updates: asked where a step is made."""

    def __init__(self, plan: FitPlan, threads: int, total_steps: int) -> None:
        self.spikes = Spikes()
        self.spikes_named = 0
        self.updates = Updates(plan)
        self._signs: tuple[Sign, ...] = (
            Idle(threads), TightMemory(), Sagging(), Trend(plan, total_steps), Overfitting(plan), KnownBefore(),
            Gradients(plan, total_steps),
        )  # fmt: skip

    def begin(self, first_step: int) -> None:
        for sign in self._signs:
            sign.begin(first_step)

    def stepped(self, progress: Progress) -> Iterator[Finding]:
        for sign in self._signs:
            yield from sign.stepped(progress)

    def logged(self, progress: Progress) -> Iterator[Finding]:
        for sign in self._signs:
            yield from sign.logged(progress)

    def evaluated(self, evaluation: Evaluation) -> Iterator[Finding]:
        for sign in self._signs:
            yield from sign.evaluated(evaluation)
