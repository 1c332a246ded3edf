"""Every schedule against transformers' own over whole runs, and a few values by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import TrainingArguments, get_scheduler
from transformers.trainer_utils import SchedulerType

from llama_factory.config.schedules import SCHEDULES as SHAPES
from llama_factory.trainer.plan import FitPlan, due
from llama_factory.trainer.schedule import SCHEDULES, At, cosine, linear, rates_of, warmup_updates

CASES = [(total, warmup) for total in (1, 2, 7, 100) for warmup in (0, 1, 3, 7, 50)]
SETTINGS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "cosine": ({}, {"num_cycles": 1.5}),
    "cosine_with_restarts": ({}, {"num_cycles": 3}),
    "cosine_with_min_lr": ({"min_lr": 1e-5}, {"min_lr_rate": 0.1, "num_cycles": 1.0}),
    "cosine_warmup_with_min_lr": ({"min_lr": 1e-5}, {"min_lr_rate": 0.2, "warmup_lr_rate": 0.3}),
    "polynomial": ({}, {"lr_end": 1e-5, "power": 2.0}),
    "inverse_sqrt": ({}, {"timescale": 20}),
    "warmup_stable_decay": (
        {"num_decay_steps": 3},
        {"num_decay_steps": 20, "num_stable_steps": 10, "min_lr_ratio": 0.1, "warmup_type": "cosine"},
        {"num_decay_steps": 5, "warmup_type": "1-sqrt", "decay_type": "1-sqrt", "num_cycles": 1.0},
        {"num_decay_steps": 5, "decay_type": "linear", "min_lr_ratio": 0.2},
    ),
}


def theirs_of(name: str, warmup: int, total: int, settings: Mapping[str, Any]) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=3e-4)
    kwargs = {"num_warmup_steps": warmup, "num_training_steps": total, "scheduler_specific_kwargs": dict(settings)}
    return optimizer, get_scheduler(name, optimizer, **kwargs)


@pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_equals_that_of_transformers_at_every_step(name: str) -> None:
    compared, asked = 0, SETTINGS.get(name, ({},))
    for settings in asked:
        for total, warmup in CASES:
            if name == "polynomial" and warmup == total:  # theirs divides by zero
                continue
            optimizer, theirs = theirs_of(name, warmup, total, settings)
            plan = FitPlan(
                learning_rate=3e-4, lr_scheduler_type=name, warmup_steps=warmup, lr_scheduler_kwargs=settings
            )
            rates = rates_of(plan, total)
            for done in range(total):
                assert rates.rate(done) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12, abs=1e-18), (total, done)
                optimizer.step()
                theirs.step()
                compared += 1
            assert rates.state() == {}
    assert compared > 100 * 4 * len(asked)


@pytest.mark.parametrize("name", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize("more", [{}, {"threshold": 0.01, "threshold_mode": "rel", "cooldown": 2}])
def test_a_schedule_that_follows_the_loss_equals_theirs_also_past_a_resume(name: str, more: dict[str, Any]) -> None:
    settings = {"patience": 2, "min_lr": 1e-6, "factor": 0.5, **more}
    if name == "greedy":
        settings |= {"max_lr": 1e-3, "reset_start": 6, "smooth": bool(more), "window_size": 3}
    _, theirs = theirs_of(name, 0, 0, settings)
    plan = FitPlan(learning_rate=3e-4, lr_scheduler_type=name, lr_scheduler_kwargs=settings)
    rates, loss, seen = rates_of(plan, 400), random.Random(3), set()
    for step in range(200):
        value = 2.0 - 0.001 * step + loss.random() if step % 50 < 40 else 1.0 - 0.01 * step
        rates.evaluated({"eval_loss": value})
        theirs.step(value)
        if step % 7 == 0:  # as a checkpoint would hold it, into a new object
            state = json.loads(json.dumps(rates.state(), allow_nan=False))
            rates = rates_of(plan, 400)
            rates.restore(state)
        assert rates.rate(step) == theirs.optimizer.param_groups[0]["lr"]
        seen.add(rates.rate(step))
    assert len(seen) > 4


def test_every_schedule_of_transformers_is_there_with_its_settings() -> None:
    assert sorted(SHAPES) == sorted(one.value for one in SchedulerType)
    assert sorted(SHAPES) == sorted([*SCHEDULES, "reduce_lr_on_plateau", "greedy"])
    for name, cases in SETTINGS.items():
        assert {setting for case in cases for setting in case} <= set(SHAPES[name].kwargs)


def test_values_worked_by_hand() -> None:
    assert [linear(At(done, 2, 6)) for done in range(7)] == [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert cosine(At(0, 0, 4)) == 1.0
    assert cosine(At(2, 0, 4)) == pytest.approx(0.5)
    assert cosine(At(4, 0, 4)) == pytest.approx(0.0)


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
