"""What is noticed while a run goes on: said once, with what was measured, and not to short, noisy or shared runs.

Every sign has a planted case, and healthy runs of many kinds hear nothing: a false alarm is a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from statistics import fmean, variance

import numpy as np
import pytest
import torch
from trainer_told import progress
from trainer_toys import Ears, ToyPolicy, objective, toy_plan, toy_source

from llama_factory.errors import one_line
from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer import Evaluation, FitPlan, Progress, fit
from llama_factory.trainer.health import Health
from llama_factory.trainer.health.learning import _Sums


def line(step: int, loss: float = 2.0, usage: Usage | None = None, seconds: float | None = None) -> Progress:
    from dataclasses import replace

    return replace(progress(step, loss=loss), usage=usage, elapsed_s=20.0 * step if seconds is None else seconds)


def used(cpu: float, *, free: float | None = 2.0, memory: float = 10.0, gpu: float | None = None) -> Usage:
    return Usage(cpu, gpu, 2**30, memory, free)


def health(first_step: int = 0, **plan: object) -> Health:
    given = Health(FitPlan(**plan), threads=2, total_steps=1000)  # type: ignore[arg-type]
    given.begin(first_step)
    return given


def ids(found: Iterable[Finding]) -> list[str]:
    said = list(found)
    for one in said:
        assert all("{" not in one_line(one.id, one.where, one.values, language) for language in ("en", "zh"))
    return [one.id for one in said]


def test_a_machine_that_waits_is_named_once_with_what_was_measured() -> None:
    given = health()
    found = [one for step in range(1, 30) for one in given.logged(line(step, usage=used(50.0)))]
    assert [one.id for one in found] == ["trainer.low-use"]
    assert found[0].values == {"device": "CPU", "percent": "50", "limit": "80", "lines": 6, "threads": 2, "step": 6}
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
    given = health()
    assert not [one for step, usage in enumerate(usages, 1) for one in given.logged(line(step, usage=usage))]


def test_log_lines_within_a_minute_prove_nothing() -> None:
    given = health()
    assert not [one for step in range(1, 50) for one in given.logged(line(step, usage=used(40.0), seconds=step))]


def test_a_gpu_is_judged_by_its_own_use() -> None:
    given = health()
    found = [one for step in range(1, 20) for one in given.logged(line(step, usage=used(99.0, gpu=30.0)))]
    assert [one.values["device"] for one in found] == ["GPU"]


def test_memory_that_is_nearly_full_is_named_once() -> None:
    given = health()
    found = [one for step in range(1, 20) for one in given.logged(line(step, usage=used(95.0, memory=93.0)))]
    assert ids(found) == ["trainer.memory-tight"]
    assert found[0].values["percent"] == "93"
    once = health()
    brief = [used(95.0, memory=93.0)] * 4 + [used(95.0, memory=60.0)] * 4
    assert not [one for step, usage in enumerate(brief, 1) for one in once.logged(line(step, usage=usage))]


def course(losses: Iterable[float], given: Health, every: int = 10) -> list[str]:
    return ids(one for n, loss in enumerate(losses, 1) for one in given.logged(line(n * every, loss=loss)))


def test_a_loss_that_never_falls_is_told_with_the_rate() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 60)
    given = health(learning_rate=1e-7)
    assert course(2.0 + noise, given) == ["trainer.loss-not-falling"]
    rising = health()
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
    assert course(losses, health()) == []


def test_a_line_of_a_long_log_costs_no_more_than_one_of_a_short() -> None:
    """Fifty thousand lines: with a look at every line before it, this test would take an hour."""
    noise = np.random.default_rng(0).normal(0, 0.05, 50_000)
    given = health()
    found = [one for step, loss in enumerate(2.0 + noise, 1) for one in given.logged(line(step, loss, used(50.0)))]
    assert ids(found) == ["trainer.low-use", "trainer.loss-not-falling"]


def test_running_sums_are_the_mean_and_variance_of_any_stretch() -> None:
    losses = (2.0 + np.random.default_rng(1).normal(0, 1e-4, 300)).tolist()
    sums = _Sums()
    for loss in losses:
        sums.add(loss)
    assert len(sums) == 300
    for first, behind in ((0, 100), (200, 300), (7, 9)):
        mean, spread = sums.of(first, behind)
        assert mean == pytest.approx(fmean(losses[first:behind]), rel=1e-12)
        assert spread == pytest.approx(variance(losses[first:behind]), rel=1e-6)
    assert _alike([1.25] * 9) == (1.25, 0.0)


def _alike(losses: list[float]) -> tuple[float, float]:
    sums = _Sums()
    for loss in losses:
        sums.add(loss)
    return sums.of(3, 6)


def test_false_alarms_over_noisy_but_learning_runs_are_rare() -> None:
    """Two hundred runs whose loss falls by a tenth under noise as large as that in each line."""
    alarms = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(0, 0.2, 60)
        alarms += bool(course(2.0 - 0.2 * np.minimum(1.0, np.arange(60) / 20) + noise, health()))
    assert alarms <= 10


def test_the_warm_up_and_a_run_that_goes_on_are_not_judged() -> None:
    assert course([2.0] * 25, health(warmup_steps=200)) == []
    assert course([2.0] * 60, health(first_step=500)) == []


def judged(given: Health, losses: list[tuple[float, float]]) -> list[str]:
    """(training, validation) for each stretch between two evaluations."""
    said = []
    for number, (train, validation) in enumerate(losses, 1):
        for _ in range(3):
            said += list(given.logged(line(number * 10, loss=train)))
        said += list(given.evaluated(Evaluation(number * 10, 100, 1.0, {"eval_loss": validation}, 1.0, 1.0)))
    return ids(said)


def test_validation_that_rises_while_training_falls_is_overfitting() -> None:
    losses = [(2.0, 1.5), (1.5, 1.2), (1.0, 1.25), (0.7, 1.4), (0.5, 1.6), (0.3, 1.8)]
    assert judged(health(), losses) == ["trainer.overfitting"]
    assert judged(health(early_stopping_patience=3), losses) == [], "it will stop by itself and say so"


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
    assert judged(health(), losses) == []


def test_the_loop_measures_and_passes_it_on() -> None:
    """Two hundred steps with a rate that moves nothing."""
    ears = Ears()
    plan = toy_plan(max_steps=200, logging_steps=5, learning_rate=1e-12, warmup_steps=0, lr_scheduler_type="constant")
    fit(ToyPolicy(), toy_source(), objective, plan, observers=[ears])
    assert len(ears.lines) == 40
    assert all(told.usage and 0 < told.usage.cpu_percent <= 100 and told.usage.memory > 2**20 for told in ears.lines)
    assert ids(ears.found) == ["trainer.updates-vanish", "trainer.loss-not-falling"]


def test_a_run_that_learns_hears_no_health() -> None:
    ears = Ears()
    fit(ToyPolicy(), toy_source(), objective, toy_plan(max_steps=200, logging_steps=5), observers=[ears])
    assert ears.found == []


def speeds(given: Health, values: Iterable[float], usage: Usage | None = None) -> list[str]:
    from dataclasses import replace

    falling = (replace(line(n, loss=2.0 / n), usage=usage or used(95.0)) for n in count(1))
    lines = (replace(told, tokens_per_second=speed) for told, speed in zip(falling, values, strict=False))
    return ids(one for told in lines for one in given.logged(told))


SWAPPED = Usage(90.0, None, 2**30, 70.0, 1.0, swapped=10**9)


def test_speed_that_sags_is_told_with_the_reason_that_the_machine_shows() -> None:
    course = [1000.0] * 15 + [400.0] * 15
    assert speeds(health(), course) == ["trainer.slower"]
    assert speeds(health(), course, SWAPPED) == ["trainer.slower-swapping"]
    given = health()
    assert speeds(given, [1000.0] * 15) == []
    assert speeds(given, [400.0] * 15, used(60.0, free=0.1)) == ["trainer.slower-shared"]


def test_speed_that_wavers_or_was_lost_for_a_moment_is_not_complained_about() -> None:
    for seed in range(100):
        random = np.random.default_rng(seed)
        assert speeds(health(), 1000 * random.lognormal(0, 0.25, 300)) == []
        drifting = 1000 * (1 - 0.3 * np.arange(300) / 300) * random.lognormal(0, 0.08, 300)
        assert speeds(health(), drifting) == [], "rows that become longer by and by"
    assert speeds(health(), [*[1000.0] * 20, *[200.0] * 4, *[1000.0] * 20]) == [], "somebody looked at something"
    assert speeds(health(), [300.0, *[1000.0] * 20]) == [], "a first line that loads and compiles"


def steps(given: Health, losses: Iterable[float], norms: Iterable[float]) -> list[str]:
    from dataclasses import replace

    told = (
        replace(progress(n, loss=loss), grad_norm=norm)
        for n, (loss, norm) in enumerate(zip(losses, norms, strict=True), 1)
    )
    return ids(one for each in told for one in given.stepped(each))


def test_gradients_that_are_always_cut_to_a_fraction_or_grow_without_end_are_told() -> None:
    random = np.random.default_rng(0)
    norms = 30 * random.lognormal(0, 0.3, 300)
    assert steps(health(), 2 - np.arange(300) / 300, norms) == ["trainer.gradient-always-cut"]
    assert steps(health(max_grad_norm=0.0), 2 - np.arange(300) / 300, norms) == []
    growing = 0.5 * np.exp(np.arange(1000) / 150)
    assert "trainer.gradient-grows" in steps(health(), 2 + np.arange(1000) / 1000, growing)


def test_gradients_that_are_clipped_as_usual_or_grow_while_the_loss_falls_are_not() -> None:
    for seed in range(100):
        random = np.random.default_rng(seed)
        falling = 0.5 + 2 / (1 + np.arange(600) / 50)
        assert steps(health(), falling, 2.5 * random.lognormal(0, 0.6, 600)) == []
        growing = np.linspace(0.3, 6, 600) * random.lognormal(0, 0.3, 600)
        assert steps(health(), falling, growing) == []


def test_rows_that_are_known_before_are_told_and_rows_that_are_learned_are_not() -> None:
    assert steps(health(), [0.01] * 8, [1.0] * 8) == ["trainer.known-before"]
    assert steps(health(first_step=40), [0.01] * 8, [1.0] * 8) == []
    assert steps(health(), [0.01, 0.02, 0.3, *[0.01] * 20], [1.0] * 23) == []
    assert steps(health(), [2.0, *[0.001] * 20], [1.0] * 21) == []


def noticed(plan: FitPlan, dtype: torch.dtype = torch.float32) -> list[Finding]:
    ears = Ears()
    fit(ToyPolicy(dtype=dtype), toy_source(), objective, plan, observers=[ears])
    return ears.found


@pytest.mark.parametrize("rate", [1e-9, 3e-8])
def test_updates_that_vanish_are_told_with_their_size(rate: float) -> None:
    plan = toy_plan(max_steps=30, logging_steps=5, learning_rate=rate, warmup_steps=0, lr_scheduler_type="constant")
    found = noticed(plan)
    assert ids(found) == ["trainer.updates-vanish"]
    assert found[0].values["step"] == 15
    assert float(found[0].values["size"]) < 1e-6


def test_updates_that_bf16_rounds_away_are_told_and_masters_keep_them() -> None:
    changes = {"max_steps": 60, "logging_steps": 5, "learning_rate": 1e-5, "warmup_steps": 0, "weight_decay": 0.0}
    pure = noticed(toy_plan(**changes, master_dtype="bfloat16", lr_scheduler_type="constant"), torch.bfloat16)
    assert ids(pure) == ["trainer.updates-lost"]
    assert int(pure[0].values["percent"]) >= 90
    assert noticed(toy_plan(**changes, lr_scheduler_type="constant"), torch.bfloat16) == []


def test_an_update_is_looked_at_without_being_changed() -> None:
    """The same bytes with a look at every step and with none."""
    masters = [
        fit(ToyPolicy(dropout=0.2), toy_source(), objective, toy_plan(logging_steps=every)).masters
        for every in (1, 1000)
    ]  # fmt: skip
    assert all(torch.equal(value, masters[1][name]) for name, value in masters[0].items())
