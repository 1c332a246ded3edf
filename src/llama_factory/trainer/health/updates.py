"""How far an update really moved the weights: updates that are rounded away, or too small to change anything.

In: the masters before and after the update of a log step, a small sample of them. Out: a finding.
Two measures. The share of sampled numbers that had a gradient and did not change: with `pure_bf16` a weight keeps 8
bits, and an update below 1/256 of it is lost. And the size of the update, root of (sum of differences squared / sum of
values squared), of the tensor that moved most; the limit of 1e-6 is that of the tutorials' table. A tensor that began
at 0 and is still next to it (LoRA's second factor) moves by much of nothing: it does not count.
Only near the full learning rate: at both ends of a schedule updates are small on purpose. It keeps no copy of a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from llama_factory.records import Finding
from llama_factory.trainer.health.signs import Sign
from llama_factory.trainer.plan import FitPlan

TENSORS, NUMBERS = 16, 2048
"""Sampled, evenly over all tensors and over each."""
LOST_SHARE = 0.9
LEAST_SIZE = 1e-6
NEXT_TO_NOTHING = 1e-3
"""Of the mean size of a number in the largest tensor."""
LINES = 3
"""Measurements in a row."""

Sample = Mapping[str, tuple[Tensor, Tensor]]
"""Name -> values before the update, and which of them have a gradient other than 0."""


class Updates(Sign):
    def __init__(self, plan: FitPlan) -> None:
        super().__init__()
        self._highest = plan.learning_rate
        self._pure = plan.master_dtype == "bfloat16"
        self._lost = self._small = 0

    def before(self, values: Mapping[str, Tensor], rate: float) -> Sample | None:
        """A sample to compare with, or None where this update is not to be judged."""
        if rate < 0.5 * self._highest:
            return None
        touched = [(name, value) for name, value in values.items() if value.grad is not None and value.numel()]
        chosen = touched[:: -(-len(touched) // TENSORS)] if touched else []
        return {
            name: (_some(value.detach()).clone(), _some(value.grad) != 0)
            for name, value in chosen
            if value.grad is not None
        }

    def after(self, sample: Sample, values: Mapping[str, Tensor], step: int, rate: float) -> Iterator[Finding]:
        sizes, same, counted = list[tuple[float, float]](), 0, 0
        for name, (was, had_gradient) in sample.items():
            now = _some(values[name].detach())
            counted += int(had_gradient.sum())
            same += int(((now == was) & had_gradient).sum())
            length, moved = float(was.float().norm()), float((now.float() - was.float()).norm())
            if length > 0:
                sizes.append((length / was.numel() ** 0.5, moved / length))
        if not counted or not sizes:
            return
        largest = max(mean for mean, _ in sizes)
        size = max(moved for mean, moved in sizes if mean >= NEXT_TO_NOTHING * largest)
        share = same / counted
        self._lost = self._lost + 1 if share >= LOST_SHARE else 0
        self._small = self._small + 1 if size < LEAST_SIZE else 0
        told: dict[str, object] = {"step": step, "rate": f"{rate:g}", "percent": f"{100 * share:.0f}",
                                   "size": f"{size:.1e}", "limit": f"{LEAST_SIZE:g}"}  # fmt: skip
        if self._lost >= LINES and self._pure:
            yield from self.once("trainer.updates-lost", told)
        elif self._small >= LINES:
            yield from self.once("trainer.updates-vanish", told)


def _some(value: Tensor) -> Tensor:
    flat = value.reshape(-1)
    return flat[:: -(-flat.numel() // NUMBERS)]
