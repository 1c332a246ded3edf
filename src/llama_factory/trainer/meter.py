"""The figures of a run between two log lines: mean loss, speed, use of the machine, time left.

In: what each step did and how long it took. Out: `Progress` values. The sums since the last log line go into
a checkpoint and back, so that a resumed run writes the same line as the run left alone.
It prints nothing and keeps no history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_factory.machine import Gauge, Usage
from llama_factory.trainer.accumulate import StepLoss
from llama_factory.trainer.ports import Progress


@dataclass(slots=True)
class _Window:
    """Sums over some steps."""

    steps: int = 0
    loss: float = 0.0
    tokens: int = 0
    busy_s: float = 0.0
    cpu_s: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)

    def add(self, loss: StepLoss, tokens: int, busy_s: float, cpu_s: float) -> None:
        self.steps += 1
        self.loss += loss.loss
        self.tokens += tokens
        self.busy_s += busy_s
        self.cpu_s += cpu_s
        for name, value in loss.terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value


class Meter:
    """`now` is a clock in seconds; elapsed time counts over resumes, time left from this process's pace.

    gauge: asked for the use of the machine at every log line.
    """

    def __init__(self, total_steps: int, now: float, gauge: Gauge | None = None) -> None:
        self._total = total_steps
        self._gauge = gauge
        self._began = now
        self._before_s = 0.0
        self._window = _Window()
        self._all = _Window()

    @property
    def tokens(self) -> int:
        """Trained on in this process."""
        return self._all.tokens

    @property
    def mean_loss(self) -> float | None:
        """Over the steps of this process; None before the first."""
        return self._all.loss / self._all.steps if self._all.steps else None

    def add(self, loss: StepLoss, tokens: int, busy_s: float, cpu_s: float) -> None:
        """One step. busy_s: by the clock; cpu_s: what all threads of this process computed meanwhile."""
        self._window.add(loss, tokens, busy_s, cpu_s)
        self._all.add(loss, tokens, busy_s, cpu_s)

    def elapsed_s(self, now: float) -> float:
        return self._before_s + now - self._began

    def remaining_s(self, step: int, now: float) -> float:
        if not self._all.steps:
            return 0.0
        return (now - self._began) / self._all.steps * (self._total - step)

    def of_step(self, step: int, epoch: float, loss: StepLoss, rate: float, norm: float, now: float) -> Progress:
        """The last step alone, at the speed of the window."""
        return self._progress(step, epoch, loss.loss, loss.terms, rate, norm, now)

    def of_window(self, step: int, epoch: float, rate: float, norm: float, now: float) -> Progress:
        """The mean since the last call; begins a new window."""
        window = self._window
        terms = {name: value / window.steps for name, value in window.terms.items()}
        usage = self._gauge.read(window.busy_s, window.cpu_s) if self._gauge else None
        progress = self._progress(step, epoch, window.loss / window.steps, terms, rate, norm, now, usage)
        self._window = _Window()
        return progress

    def state(self, now: float) -> dict[str, Any]:
        window = self._window
        return {
            "elapsed_s": self.elapsed_s(now),
            "steps": window.steps,
            "loss": window.loss,
            "tokens": window.tokens,
            "busy_s": window.busy_s,
            "cpu_s": window.cpu_s,
            "terms": dict(window.terms),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._before_s = state["elapsed_s"]
        self._window = _Window(
            state["steps"], state["loss"], state["tokens"], state["busy_s"],
            state.get("cpu_s", 0.0),  # earlier releases did not count it
            dict(state["terms"]),
        )  # fmt: skip

    def _progress(
        self, step: int, epoch: float, loss: float, terms: Mapping[str, float], rate: float, norm: float, now: float,
        usage: Usage | None = None,
    ) -> Progress:  # fmt: skip
        return Progress(
            step=step,
            total_steps=self._total,
            epoch=epoch,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens_per_second=self._window.tokens / self._window.busy_s if self._window.busy_s > 0 else 0.0,
            elapsed_s=self.elapsed_s(now),
            remaining_s=self.remaining_s(step, now),
            terms=terms if len(terms) > 1 else {},
            usage=usage,
        )
