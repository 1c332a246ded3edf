"""A loss that jumps is told with its rows; a noisy run that is fine hears nothing: a false alarm is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trainer_toys import Ears, ToyPolicy, ToySource, objective, toy_plan, toy_rows, toy_source

from llama_factory.errors import DivergedError
from llama_factory.losses import Term
from llama_factory.records import Batch
from llama_factory.trainer import fit
from llama_factory.trainer.health import SPIKES_NAMED, suspects
from llama_factory.trainer.health.spikes import ENOUGH, Spike, Spikes

STEPS = 600
Course = list[tuple[float, float]]
"""Loss and tokens of every step."""


def shape(kind: str, random: np.random.Generator) -> NDArray[np.float64]:
    """The loss that the rows would have on average."""
    t = np.arange(STEPS)
    return {
        "a power law": 1.2 + 3 * (t + 1.0) ** -0.4,
        "a steep fall": 1.5 + 8 * np.exp(-t / 10),
        "flat": np.full(STEPS, 1.5),
        "stairs of epochs": np.maximum(0.02, 2 * 0.35 ** (t // 120)),
        "a bump of the warm-up": 1.5 + 0.3 * np.exp(-(((t - 150) / 60.0) ** 2)),
        "wandering": 1.5 + np.clip(np.cumsum(random.normal(0, 0.02, STEPS)), -1, 2),
    }[kind]


def course(kind: str, rows: int, random: np.random.Generator) -> Course:
    """Steps of so many rows; lengths, rows and tokens each with a spread of their own."""
    tokens = np.clip(random.lognormal(5, 1, (STEPS, rows)), 5, 1024)
    loss = shape(kind, random)[:, None] * random.lognormal(-0.06, 0.35, (STEPS, rows))
    loss = np.maximum(1e-4, loss + random.normal(0, 2, (STEPS, rows)) / np.sqrt(tokens))
    return list(zip((loss * tokens).sum(1) / tokens.sum(1), tokens.sum(1), strict=True))


def classes(share_wrong: float, random: np.random.Generator) -> Course:
    """One trained token a row, eight rows a step; a few are answered wrongly with conviction."""
    wrong = random.random((STEPS, 8)) < share_wrong
    loss = np.where(wrong, random.exponential(3, wrong.shape), random.exponential(0.05, wrong.shape))
    return [(float(one), 8.0) for one in loss.mean(1)]


def two_sets(random: np.random.Generator) -> Course:
    """One row in ten is from a set that is six times as hard."""
    hard = random.random((STEPS, 4)) < 0.1
    loss = np.where(hard, 3.0, 0.5) * random.lognormal(0, 0.3, hard.shape)
    return [(float(one), 600.0) for one in loss.mean(1)]


HEALTHY = {
    **{f"{kind}, {rows} rows": partial(course, kind, rows) for rows in (1, 8, 32)
       for kind in ("a power law", "a steep fall", "flat", "stairs of epochs", "a bump of the warm-up", "wandering")},
    **{f"{share} of the answers wrong": partial(classes, share) for share in (0.001, 0.02, 0.1)},
    "two data sets": two_sets,
}  # fmt: skip


def seen(steps: Course) -> list[int]:
    spikes = Spikes()
    return [number for number, (loss, count) in enumerate(steps, 1) if spikes.see(float(loss), float(count))]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_hundred_noisy_runs_that_are_fine_hear_nothing(name: str) -> None:
    alarms = {seed: found for seed in range(100) if (found := seen(HEALTHY[name](np.random.default_rng(seed))))}
    assert not alarms


@pytest.mark.parametrize("kind", ["a power law", "stairs of epochs", "flat"])
def test_a_jump_by_six_in_steps_of_eight_rows_is_seen_at_its_first_step(kind: str) -> None:
    found = 0
    for seed in range(50):
        steps = course(kind, 8, np.random.default_rng(seed))
        steps[400:403] = [(loss + 6, count) for loss, count in steps[400:403]]
        said = seen(steps)
        assert set(said) <= {401}, "one jump, one word"
        found += said == [401]
    assert found >= 48


def test_a_loss_that_stays_high_is_one_jump_and_a_second_jump_is_another() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 600)
    level = 1.5 + noise
    level[200:], level[400:] = 4.0 + noise[200:], 9.0 + noise[400:]
    assert seen([(float(loss), 1000.0) for loss in level]) == [201, 401]


def test_few_tokens_and_a_young_run_are_no_reason() -> None:
    steady = [(1.0, 1000.0)] * 200
    assert Spikes().see(5.0, 1000.0) is None
    assert seen([*steady, (5.0, 4.0)]) == []
    assert seen([*steady, (5.0, 1000.0)]) == [201]
    assert seen([*steady[: ENOUGH // 2], (5.0, 1000.0)]) == []


def test_a_spike_says_what_was_usual() -> None:
    spikes = Spikes()
    assert all(spikes.see(1.0, 1000.0) is None for _ in range(100))
    assert spikes.see(7.5, 1000.0) == Spike(7.5, 1.0)


def source(**changes: int) -> ToySource:
    """Rows of 400 tokens: the mean of a step is quiet."""
    rows = []
    for row in range(64):
        random = np.random.default_rng(row)
        ids_T = np.tile(random.integers(0, 23, 3), 134).astype(np.int32)
        weight_T = np.ones(len(ids_T), np.float32)
        weight_T[0] = 0.0
        rows.append((ids_T, weight_T))
    return ToySource(rows, **{"rows_per_step": 4, "rows_per_batch": 2, **changes})


class Odd:
    """An objective that makes one row of the step that the run comes to far worse than it is."""

    def __init__(self, call: int, row_of: int = 0) -> None:
        self.calls, self.call, self.row_of = 0, call, row_of
        self.row: int | None = None

    def __call__(self, policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        self.calls += policy.module.training
        if self.calls == self.call and self.row is None:
            self.row = int(batch.rows[self.row_of])
        term = objective(policy, batch)["sft"]
        if self.row is not None and self.calls in (self.call, self.call + 1) and self.row in batch.rows:
            return {"sft": Term(term.sum + 40.0 * term.count, term.count)}
        return {"sft": term}


def test_the_rows_of_a_jump_are_named_first_the_one_that_lifted_it_most() -> None:
    ears, odd = Ears(), Odd(241, row_of=1)
    plan = toy_plan(max_steps=200, warmup_steps=0)
    fit(ToyPolicy(dropout=0.1), source(), odd, plan, observers=[ears], origin=lambda row: f"rows.jsonl:{row}")
    assert [one.id for one in ears.found] == ["trainer.loss-spike"]
    values = ears.found[0].values
    assert values["step"] == 121
    assert values["rows"].startswith(f"rows.jsonl:{odd.row} (")
    assert float(values["loss"]) == pytest.approx(ears.steps[120].loss, abs=1e-4)


def test_the_second_look_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights to the bit, dropout included, as in a run that never looks."""
    plan = toy_plan(max_steps=200, warmup_steps=0)
    looked = fit(ToyPolicy(dropout=0.3), source(), Odd(241), plan)
    monkeypatch.setattr(suspects, "row_losses", lambda *given: [])
    blind = fit(ToyPolicy(dropout=0.3), source(), Odd(241), plan)
    assert all(torch.equal(value, blind.masters[name]) for name, value in looked.masters.items())


def test_a_loss_that_is_no_number_names_the_row_and_not_its_company() -> None:
    def bad(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        term = objective(policy, batch)["sft"]
        return {"sft": Term(term.sum * float("nan"), term.count) if 11 in batch.rows else term}

    with pytest.raises(DivergedError, match=r"Its rows: rows\.jsonl:11\.") as caught:
        fit(ToyPolicy(), toy_source(rows_per_step=37, rows_per_batch=37), bad, toy_plan(),
            origin=lambda row: f"rows.jsonl:{row}")  # fmt: skip
    assert caught.value.id == "trainer.loss-not-finite"


def test_the_losses_of_rows_alone_add_up_to_the_step() -> None:
    step = toy_source(rows_per_step=12, rows_per_batch=4).next_step()
    policy = ToyPolicy()
    found = suspects.row_losses(policy, objective, step.batches)
    assert len(found) == 12
    with torch.no_grad():
        whole = sum(float(objective(policy, batch)["sft"].sum) for batch in step.batches)
    assert sum(one.loss * one.count for one in found) == pytest.approx(whole, rel=1e-5)
    assert policy.module.training
    loud = suspects.loudest(found)
    assert len(loud) == suspects.NAMED


def test_a_step_of_many_rows_is_looked_at_in_part_and_rows_with_extras_are_not() -> None:
    many = ToySource(toy_rows(500), rows_per_step=400, rows_per_batch=100).next_step()
    assert len(suspects.row_losses(ToyPolicy(), objective, many.batches)) == suspects.MOST_ROWS
    batch = many.batches[0]
    odd = Batch(batch.ids_T, batch.weight_T, batch.offsets, batch.rows, {"reference": np.zeros(3)})
    assert suspects.row_losses(ToyPolicy(), objective, [odd]) == []


def test_a_run_names_no_more_than_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spikes, "see", lambda self, loss, count: Spike(loss, 1.0))
    ears = Ears()
    fit(ToyPolicy(), toy_source(), objective, toy_plan(), observers=[ears])
    assert len(ears.found) == SPIKES_NAMED == 10
