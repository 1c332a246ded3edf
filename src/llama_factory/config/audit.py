"""What is legal in a configuration and yet seldom meant: rates, and steps that are too few or never come.

In: a `Run`, and once the rows are known, how many steps make an epoch. Out: findings `config.*`.
Deliberately not here: what is forbidden (`rules` refuses that), and anything that needs data or a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from llama_factory.config.run import Run
from llama_factory.records import Finding

USUAL_RATES: Mapping[str, tuple[float, float]] = {
    "lora": (5e-5, 3e-3), "freeze": (1e-6, 1e-4), "full": (1e-6, 1e-4),
    "oft": (5e-5, 3e-3), "p_tuning": (1e-4, 3e-2), "prompt_tuning": (1e-3, 0.5), "prefix_tuning": (1e-4, 5e-2),
}  # fmt: skip
"""Between these, methods are usually trained with AdamW; outside, a digit is often wrong. Other optimizers' rates are
multiples of these (`config.optimizers`)."""

FEW_STEPS = 50
"""Fewer updates than this seldom change what a model says about itself."""

SMALL, MANY_EPOCHS = 200, 5
"""So few rows, read so often, are learned by heart."""


def audit(run: Run) -> list[Finding]:
    """What the file alone shows."""
    optimizer = run.training.optimizer
    low, high = (
        usual * times
        for usual, times in zip(USUAL_RATES[run.method.finetuning_type], optimizer.facts.rates, strict=True)
    )
    rate = optimizer.learning_rate
    if low <= rate <= high * (1 + 1e-9):
        return []
    id = "config.rate-low" if rate < low else "config.rate-high"
    method = f"{run.method.finetuning_type}, {optimizer.kind}"
    values = {"found": f"{rate:g}", "method": method, "low": f"{low:g}", "high": f"{high:g}"}
    return [Finding(id, "warning", run.where("learning_rate"), values)]


def total_steps(run: Run, steps_per_epoch: int) -> int:
    """Updates of the weights that the run will make; `trainer.FitPlan` counts the same."""
    training = run.training
    return training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * steps_per_epoch)


def audit_steps(run: Run, *, rows: int, steps_per_epoch: int) -> list[Finding]:
    """What shows once it is known how many rows are trained on."""
    total = total_steps(run, steps_per_epoch)
    epochs = total / steps_per_epoch
    found: list[Finding] = []
    if total < FEW_STEPS:
        values = {"total": total, "rows": rows, "epochs": f"{epochs:.3g}", "few": FEW_STEPS}
        found.append(Finding("config.few-steps", "warning", "", values))
    if rows < SMALL and epochs > MANY_EPOCHS:
        found.append(Finding("config.by-heart", "note", "", {"rows": rows, "epochs": f"{epochs:.3g}"}))
    if run.saving.save_strategy == "steps" and run.saving.save_steps > total:
        values = {"save_steps": run.saving.save_steps, "total": total}
        found.append(Finding("config.save-after-end", "note", run.where("save_steps"), values))
    return found + _warmup(run, total)


def _warmup(run: Run, total: int) -> list[Finding]:
    """The first update of a warm-up is made with rate 0; a warm-up that fills the run never reaches the rate."""
    schedule = run.training.schedule
    if not schedule.shape.warms_up:
        return []
    warmup = schedule.warmup_steps if schedule.warmup_steps > 0 else math.ceil(total * schedule.warmup_ratio)
    if warmup >= 1 and total == 1:
        return [Finding("config.rate-stays-zero", "error", "", {"warmup": warmup})]
    if warmup >= total > 1:
        return [Finding("config.warmup-fills-run", "warning", "", {"warmup": warmup, "total": total})]
    return []
