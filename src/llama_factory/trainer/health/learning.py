"""What the losses say: nothing is learned, nothing was left to learn, or what is learned holds for these rows alone.

In: the mean loss of each log line, the figures of each evaluation. Out: findings, believed only after several
measurements, so that a short run, a first batch or one bad row says nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import isfinite, sqrt

from llama_factory.records import Finding
from llama_factory.trainer.health.signs import Sign
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import Evaluation, Progress
from llama_factory.trainer.schedule import warmup_updates

TREND_LINES, TREND_STEPS, TREND_SHARE = 20, 100, 0.2
"""After the warm-up, before anything is said about a loss that does not fall; the last is a share of the run."""
FALL, NO_FALL = 0.01, 0.03
"""Shares of the loss: more than the first, beyond doubt, has fallen; surely less than the second has not."""
RISE = 0.01
"""Share by which the validation loss must have risen above its best."""
KNOWN, KNOWN_STEPS = 0.05, 5
"""Nats a token in each of the first steps: 95 % of every next token is known before anything was learned."""


class Trend(Sign):
    """The mean of the first third of the log lines against that of the last, with the error that their noise makes.

    Both ways only beyond doubt: noise alone neither sounds the alarm nor silences it. The loss of a run that goes on
    may have fallen before: it is not judged. Running sums answer for any third, so that a line costs the same however
    many there were.
    """

    def __init__(self, plan: FitPlan, total_steps: int) -> None:
        super().__init__()
        self._rate = plan.learning_rate
        self._total = total_steps
        self._warmup = warmup_updates(total_steps, warmup_steps=plan.warmup_steps, warmup_ratio=plan.warmup_ratio)
        self._sums = _Sums()
        self._learned = 0
        self._has_learned = False

    def begin(self, first_step: int) -> None:
        self._has_learned = first_step > 0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        if self._has_learned or not isfinite(progress.loss):
            return
        self._sums.add(progress.loss)
        self._learned += progress.step > self._warmup
        if self._learned < TREND_LINES:
            return
        lines = len(self._sums)
        third = lines // 3
        (before, spread), (now, spread_now) = self._sums.of(0, third), self._sums.of(lines - third, lines)
        error = sqrt((spread + spread_now) / third)
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
                "rate": f"{self._rate:g}",
            }
            yield from self.once("trainer.loss-not-falling", values)


class _Sums:
    """Mean and variance of any stretch of the values so far. Sums are of the distance from the first value, so that
    little is lost where all are alike.
    """

    def __init__(self) -> None:
        self._start = 0.0
        self._sum, self._square = array("d", [0.0]), array("d", [0.0])

    def __len__(self) -> int:
        return len(self._sum) - 1

    def add(self, value: float) -> None:
        if not len(self):
            self._start = value
        far = value - self._start
        self._sum.append(self._sum[-1] + far)
        self._square.append(self._square[-1] + far * far)

    def of(self, first: int, behind: int) -> tuple[float, float]:
        """Of at least two values."""
        count = behind - first
        total = self._sum[behind] - self._sum[first]
        squares = self._square[behind] - self._square[first]
        return self._start + total / count, max(0.0, squares - total * total / count) / (count - 1)


class Overfitting(Sign):
    """Validation loss up twice in a row and above its best, training loss down all the while."""

    def __init__(self, plan: FitPlan) -> None:
        super().__init__()
        self._stops_by_itself = plan.early_stopping_patience is not None
        self._judged: list[tuple[float, int, float]] = []
        self._since, self._lines = 0.0, 0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        if isfinite(progress.loss):
            self._since, self._lines = self._since + progress.loss, self._lines + 1
        yield from ()

    def evaluated(self, evaluation: Evaluation) -> Iterator[Finding]:
        value = evaluation.metrics.get("eval_loss")
        if value is None or not isfinite(value) or not self._lines:
            return
        self._judged.append((value, evaluation.step, self._since / self._lines))
        self._since, self._lines = 0.0, 0
        if len(self._judged) < 3 or self._stops_by_itself:
            return
        (first, _, train_first), (second, _, train_second), (last, _, train_last) = self._judged[-3:]
        best, best_step, train_best = min(self._judged)
        rises = first < second < last and last > best * (1 + RISE)
        if rises and train_first > train_second > train_last:
            values = {
                "best": f"{best:.4f}", "best_step": best_step, "now": f"{last:.4f}", "step": evaluation.step,
                "train_then": f"{train_best:.4f}", "train_now": f"{train_last:.4f}",
            }  # fmt: skip
            yield from self.once("trainer.overfitting", values)


class KnownBefore(Sign):
    """A loss near 0 in each of the first steps, before anything can have been learned. A run that goes on is spared."""

    def __init__(self) -> None:
        super().__init__()
        self._highest = 0.0
        self._seen = 0
        self._is_over = False

    def begin(self, first_step: int) -> None:
        self._is_over = first_step > 0

    def stepped(self, progress: Progress) -> Iterator[Finding]:
        if self._is_over:
            return
        self._seen += 1
        self._highest = max(self._highest, abs(progress.loss))
        self._is_over = self._highest >= KNOWN or self._seen == KNOWN_STEPS
        if self._is_over and self._highest < KNOWN:
            values = {"step": progress.step, "steps": self._seen, "highest": f"{self._highest:.4f}"}
            yield from self.once("trainer.known-before", values)
