"""Advice while a run goes on: said once, with what was measured, and not to short, noisy or shared runs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from trainer_told import progress
from trainer_toys import ToyPolicy, objective, toy_plan, toy_source

from llama_factory.errors import one_line
from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer import Evaluation, FitPlan, Progress, fit
from llama_factory.trainer.advice import Advice
from llama_factory.trainer.observers import Quiet


def line(step: int, loss: float = 2.0, usage: Usage | None = None, seconds: float | None = None) -> Progress:
    from dataclasses import replace

    return replace(progress(step, loss=loss), usage=usage, elapsed_s=20.0 * step if seconds is None else seconds)


def used(cpu: float, *, free: float | None = 2.0, memory: float = 10.0, gpu: float | None = None) -> Usage:
    return Usage(cpu, gpu, 2**30, memory, free)


def advice(first_step: int = 0, **plan: object) -> Advice:
    given = Advice(FitPlan(**plan), threads=2, total_steps=1000)  # type: ignore[arg-type]
    given.begin(first_step)
    return given


def ids(found: Iterable[Finding]) -> list[str]:
    said = list(found)
    for one in said:
        assert all("{" not in one_line(one.id, one.where, one.values, language) for language in ("en", "zh"))
    return [one.id for one in said]


def test_a_machine_that_waits_is_named_once_with_what_was_measured() -> None:
    given = advice()
    found = [one for step in range(1, 30) for one in given.logged(line(step, usage=used(50.0)))]
    assert [one.id for one in found] == ["trainer.low-use"]
    assert found[0].values == {"device": "CPU", "percent": "50", "limit": "80", "lines": 6, "threads": 2}
    said = one_line(found[0].id, "", found[0].values)
    assert "50 %" in said
    assert "micro_batch_tokens" in said


@pytest.mark.parametrize(
    "usages",
    [
        [used(85.0)] * 30,
        [used(50.0), used(50.0), used(95.0)] * 10,
        [used(50.0, free=0.1)] * 30,
        [used(50.0)] * 4,
    ],
    ids=["busy enough", "not in a row", "others use the rest", "a short run"],
)
def test_a_machine_that_is_used_or_shared_is_not_complained_about(usages: list[Usage]) -> None:
    given = advice()
    assert not [one for step, usage in enumerate(usages, 1) for one in given.logged(line(step, usage=usage))]


def test_log_lines_within_a_minute_prove_nothing() -> None:
    given = advice()
    assert not [one for step in range(1, 50) for one in given.logged(line(step, usage=used(40.0), seconds=step))]


def test_a_gpu_is_judged_by_its_own_use() -> None:
    given = advice()
    found = [one for step in range(1, 20) for one in given.logged(line(step, usage=used(99.0, gpu=30.0)))]
    assert [one.values["device"] for one in found] == ["GPU"]


def test_memory_that_is_nearly_full_is_named_once() -> None:
    given = advice()
    found = [one for step in range(1, 20) for one in given.logged(line(step, usage=used(95.0, memory=93.0)))]
    assert ids(found) == ["trainer.memory-tight"]
    assert found[0].values["percent"] == "93"
    once = advice()
    brief = [used(95.0, memory=93.0)] * 4 + [used(95.0, memory=60.0)] * 4
    assert not [one for step, usage in enumerate(brief, 1) for one in once.logged(line(step, usage=usage))]


def course(losses: Iterable[float], given: Advice, every: int = 10) -> list[str]:
    return ids(one for n, loss in enumerate(losses, 1) for one in given.logged(line(n * every, loss=loss)))


def test_a_loss_that_never_falls_is_told_with_the_rate() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 60)
    given = advice(learning_rate=1e-7)
    assert course(2.0 + noise, given) == ["trainer.loss-not-falling"]
    rising = advice()
    assert course(2.0 + 0.02 * np.arange(60), rising) == ["trainer.loss-not-falling"]


@pytest.mark.parametrize(
    "losses",
    [
        np.linspace(2.0, 1.9, 60),
        [*np.linspace(3.0, 1.0, 12), *[1.0] * 80],
        [2.0] * 15,
    ],
    ids=["slowly falling", "a plateau after a fall", "a short run"],
)
def test_a_loss_that_falls_has_fallen_or_is_short_is_left_in_peace(losses: Iterable[float]) -> None:
    assert course(losses, advice()) == []


def test_false_alarms_over_noisy_but_learning_runs_are_rare() -> None:
    """Two hundred runs whose loss falls by a tenth under noise as large as that in each line."""
    alarms = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(0, 0.2, 60)
        alarms += bool(course(2.0 - 0.2 * np.minimum(1.0, np.arange(60) / 20) + noise, advice()))
    assert alarms <= 10


def test_the_warm_up_and_a_run_that_goes_on_are_not_judged() -> None:
    assert course([2.0] * 25, advice(warmup_steps=200)) == []
    assert course([2.0] * 60, advice(first_step=500)) == []


def judged(given: Advice, losses: list[tuple[float, float]]) -> list[str]:
    """(training, validation) for each stretch between two evaluations."""
    said = []
    for number, (train, validation) in enumerate(losses, 1):
        for _ in range(3):
            said += list(given.logged(line(number * 10, loss=train)))
        said += list(given.evaluated(Evaluation(number * 10, 100, 1.0, {"eval_loss": validation}, 1.0, 1.0)))
    return ids(said)


def test_validation_that_rises_while_training_falls_is_overfitting() -> None:
    losses = [(2.0, 1.5), (1.5, 1.2), (1.0, 1.25), (0.7, 1.4), (0.5, 1.6), (0.3, 1.8)]
    assert judged(advice(), losses) == ["trainer.overfitting"]
    assert judged(advice(early_stopping_patience=3), losses) == [], "it will stop by itself and say so"


@pytest.mark.parametrize(
    "losses",
    [
        [(2.0, 1.5), (1.5, 1.2), (1.0, 1.25)],
        [(2.0, 1.5), (1.5, 1.2), (1.0, 1.25), (0.7, 1.21), (0.6, 1.22)],
        [(2.0, 1.2), (1.9, 1.203), (1.8, 1.206)],
        [(2.0, 1.2), (2.1, 1.5), (2.2, 1.9)],
        [(2.0, 1.2), (1.9, float("nan")), (1.8, 1.5)],
    ],
    ids=["one rise", "up and down", "a hair", "both rise", "not a number"],
)
def test_less_than_that_is_not(losses: list[tuple[float, float]]) -> None:
    assert judged(advice(), losses) == []


class Ears(Quiet):
    def __init__(self) -> None:
        self.lines: list[Progress] = []
        self.found: list[Finding] = []

    def logged(self, progress: Progress) -> None:
        self.lines.append(progress)

    def noticed(self, finding: Finding) -> None:
        self.found.append(finding)


def test_the_loop_measures_and_passes_advice_on() -> None:
    """Two hundred steps with a rate that moves nothing."""
    ears = Ears()
    plan = toy_plan(max_steps=200, logging_steps=5, learning_rate=1e-12, warmup_steps=0, lr_scheduler_type="constant")
    fit(ToyPolicy(), toy_source(), objective, plan, observers=[ears])
    assert len(ears.lines) == 40
    assert all(told.usage and 0 < told.usage.cpu_percent <= 100 and told.usage.memory > 2**20 for told in ears.lines)
    assert [one.id for one in ears.found] == ["trainer.loss-not-falling"]


def test_a_run_that_learns_hears_no_advice() -> None:
    ears = Ears()
    fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=200, logging_steps=5), observers=[ears])
    assert ears.found == []
