"""A word of advice while a run goes on: the machine waits, memory runs out, nothing is learned, too much is learned.

In: what the loop tells at log lines and evaluations. Out: findings, each at most once a run, with what was measured.
The limits are those of the table that users know (use above 80 %, memory below 90 %, both losses falling). Each is
believed only after several measurements in a row, so that a short run, a first batch or one bad row says nothing.
Deliberately changes nothing and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, sqrt
from statistics import fmean, stdev

from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import Evaluation, Progress
from llama_factory.trainer.schedule import warmup_updates

USE_PERCENT = 80.0
MEMORY_PERCENT = 90.0
LINES = 5
"""Log lines in a row."""
SECONDS = 60.0
"""So long a machine must have been idle: with less than that there is nothing to win."""
TREND_LINES, TREND_STEPS, TREND_SHARE = 20, 100, 0.2
"""After the warm-up, before anything is said about a loss that does not fall; the last is a share of the run."""
FALL, NO_FALL = 0.01, 0.03
"""Shares of the loss: more than the first, beyond doubt, has fallen; surely less than the second has not."""
RISE = 0.01
"""Share by which the validation loss must have risen above its best."""


class Advice:
    """threads: that torch computes with. The loss of a run that goes on may have fallen before: it is not judged."""

    def __init__(self, plan: FitPlan, threads: int, total_steps: int) -> None:
        self._plan = plan
        self._threads = threads
        self._total = total_steps
        self._warmup = warmup_updates(total_steps, warmup_steps=plan.warmup_steps, warmup_ratio=plan.warmup_ratio)
        self._said: set[str] = set()
        self._idle: list[tuple[float, float]] = []
        self._tight: list[float] = []
        self._losses: list[float] = []
        self._steps: list[int] = []
        self._judged: list[tuple[float, int, float]] = []
        self._since: list[float] = []
        self._has_learned = False

    def begin(self, first_step: int) -> None:
        self._has_learned = first_step > 0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        if isfinite(progress.loss):
            self._losses.append(progress.loss)
            self._steps.append(progress.step)
            self._since.append(progress.loss)
        if progress.usage is not None:
            yield from self._use(progress.usage, progress.elapsed_s)
            yield from self._memory(progress.usage)
        yield from self._trend(progress)

    def evaluated(self, evaluation: Evaluation) -> Iterator[Finding]:
        """Validation loss up twice in a row and above its best, training loss down all the while."""
        value = evaluation.metrics.get("eval_loss")
        if value is None or not isfinite(value) or not self._since:
            return
        self._judged.append((value, evaluation.step, fmean(self._since)))
        self._since = []
        if len(self._judged) < 3 or self._plan.early_stopping_patience is not None:
            return
        (first, _, train_first), (second, _, train_second), (last, _, train_last) = self._judged[-3:]
        best, best_step, train_best = min(self._judged)
        rises = first < second < last and last > best * (1 + RISE)
        if rises and train_first > train_second > train_last:
            values = {
                "best": f"{best:.4f}", "best_step": best_step, "now": f"{last:.4f}", "step": evaluation.step,
                "train_then": f"{train_best:.4f}", "train_now": f"{train_last:.4f}",
            }  # fmt: skip
            yield from self._once("trainer.overfitting", values)

    def _use(self, usage: Usage, elapsed_s: float) -> Iterator[Finding]:
        percent = usage.cpu_percent if usage.gpu_percent is None else usage.gpu_percent
        if percent >= USE_PERCENT or (usage.gpu_percent is None and self._is_shared(usage)):
            self._idle = []
            return
        self._idle.append((elapsed_s, percent))
        if len(self._idle) > LINES and elapsed_s - self._idle[0][0] >= SECONDS:
            device = "CPU" if usage.gpu_percent is None else "GPU"
            mean = fmean(percent for _, percent in self._idle)
            values = {"device": device, "percent": f"{mean:.0f}", "limit": f"{USE_PERCENT:.0f}",
                      "lines": len(self._idle), "threads": self._threads}  # fmt: skip
            yield from self._once("trainer.low-use", values)

    def _is_shared(self, usage: Usage) -> bool:
        """What this process does not use, others do: larger batches would not get it."""
        unused = (1 - usage.cpu_percent / 100) * self._threads
        return usage.processors_free is not None and usage.processors_free < unused / 2

    def _memory(self, usage: Usage) -> Iterator[Finding]:
        self._tight = [*self._tight, usage.memory_percent] if usage.memory_percent > MEMORY_PERCENT else []
        if len(self._tight) >= LINES:
            values = {"percent": f"{usage.memory_percent:.0f}", "limit": f"{MEMORY_PERCENT:.0f}",
                      "gb": f"{usage.memory_gb:.1f}", "lines": len(self._tight)}  # fmt: skip
            yield from self._once("trainer.memory-tight", values)

    def _trend(self, progress: Progress) -> Iterator[Finding]:
        """The mean of the first third of the log lines against that of the last, with the error that their noise makes.

        Both ways only beyond doubt: noise alone neither sounds the alarm nor silences it.
        """
        learned = sum(step > self._warmup for step in self._steps)
        if self._has_learned or learned < TREND_LINES:
            return
        third = len(self._losses) // 3
        first, last = self._losses[:third], self._losses[-third:]
        error = sqrt((stdev(first) ** 2 + stdev(last) ** 2) / third)
        before, now = fmean(first), fmean(last)
        if before - now > max(FALL * before, 3 * error):
            self._has_learned = True  # a plateau from now on is where runs end
            return
        enough = max(TREND_STEPS, TREND_SHARE * (self._total - self._warmup))
        if progress.step - self._warmup >= enough and before - now + 2.5 * error < NO_FALL * before:
            values = {
                "step": progress.step,
                "first": f"{before:.4f}",
                "last": f"{now:.4f}",
                "lines": third,
                "rate": f"{self._plan.learning_rate:g}",
            }
            yield from self._once("trainer.loss-not-falling", values)

    def _once(self, id: str, values: dict[str, object]) -> Iterator[Finding]:
        if id not in self._said:
            self._said.add(id)
            yield Finding(id, "warning", values=values)
