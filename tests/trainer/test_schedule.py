"""Every schedule against transformers' own, and a few values by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments, get_scheduler

from llama_factory.trainer.plan import FitPlan, due
from llama_factory.trainer.schedule import SCHEDULES, cosine, linear, warmup_updates

CASES = [(total, warmup) for total in (1, 2, 7, 100) for warmup in (0, 1, 3, 7, 50)]


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_equals_that_of_transformers_at_every_step(name: str) -> None:
    compared = 0
    for total, warmup in CASES:
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=3e-4)
        theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
        plan = FitPlan(learning_rate=3e-4, lr_scheduler_type=name, warmup_steps=warmup)
        for done in range(total):
            assert plan.rate(done, total) == theirs.get_last_lr()[0], (total, warmup, done)
            optimizer.step()
            theirs.step()
            compared += 1
    assert compared == 110 * 5


def test_all_four_schedules_are_there() -> None:
    assert sorted(SCHEDULES) == ["constant", "constant_with_warmup", "cosine", "linear"]


def test_values_worked_by_hand() -> None:
    assert [linear(done, 2, 6) for done in range(7)] == [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert cosine(0, 0, 4) == 1.0
    assert cosine(2, 0, 4) == pytest.approx(0.5)
    assert cosine(4, 0, 4) == pytest.approx(0.0)


@pytest.mark.parametrize(("steps", "ratio"), [(0, 0.0), (0, 0.03), (0, 0.1), (5, 0.0), (5, 0.1)])
def test_the_length_of_the_warm_up_equals_that_of_transformers(steps: int, ratio: float, tmp_path: object) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), warmup_steps=steps or ratio, use_cpu=True)
    for total in (1, 33, 100, 1001):
        assert warmup_updates(total, warmup_steps=steps, warmup_ratio=ratio) == arguments.get_warmup_steps(total)


def test_max_steps_wins_over_epochs_and_a_broken_epoch_is_rounded_up() -> None:
    assert FitPlan(num_train_epochs=1.5).total_steps(7) == 11
    assert FitPlan(num_train_epochs=1.5, max_steps=3).total_steps(7) == 3


def test_what_is_due_after_a_step() -> None:
    def steps(strategy: str, every: int) -> list[int]:
        asked = range(1, 11)
        return [s for s in asked if due(strategy, every, step=s, total=10, steps_per_epoch=4)]  # type: ignore[arg-type]

    assert steps("no", 1) == []
    assert steps("steps", 3) == [3, 6, 9, 10]
    assert steps("epoch", 3) == [4, 8, 10]
    assert steps("steps", 50) == [10]
