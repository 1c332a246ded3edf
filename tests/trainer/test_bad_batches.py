"""Numbers that are not finite: no update is made of them, and `skip_bad_batch` goes on as if they had not come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from trainer_toys import Ears, ToyPolicy, ToySource, objective, toy_checkpoints, toy_plan, toy_rows, toy_source

from llama_factory.errors import DivergedError
from llama_factory.losses import Term
from llama_factory.records import Batch, Step
from llama_factory.trainer import FitResult, fit
from llama_factory.trainer.optimizers import Optimizer

FILES = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")
BAD_ROW = 11
Objective = Callable[[ToyPolicy, Batch], Mapping[str, Term]]


class Gaps(ToySource):
    """The source without the steps that have the bad row."""

    def next_step(self) -> Step:
        while True:
            step = super().next_step()
            if not any(BAD_ROW in batch.rows for batch in step.batches):
                return step


def bad_loss(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
    term = objective(policy, batch)["sft"]
    return {"sft": Term(term.sum * float("nan"), term.count) if BAD_ROW in batch.rows else term}


class _Spoil(torch.autograd.Function):
    """The number itself forward, a gradient without bounds backward."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad * float("inf")


def bad_gradient(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
    term = objective(policy, batch)["sft"]
    return {"sft": Term(_Spoil.apply(term.sum), term.count) if BAD_ROW in batch.rows else term}


def run(
    given: Objective,
    source: ToySource,
    *,
    checkpoints: object = None,
    dtype: torch.dtype = torch.float32,
    **plan: object,
) -> tuple[FitResult, Ears]:
    ears = Ears()
    policy = ToyPolicy(dropout=0.2, dtype=dtype)
    result = fit(policy, source, given, toy_plan(**plan), observers=[ears], checkpoints=checkpoints,
                 origin=lambda row: f"rows.jsonl:{row}")  # type: ignore[arg-type] # fmt: skip
    return result, ears


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given", [bad_loss, bad_gradient])
def test_a_run_that_skips_is_the_run_that_never_had_those_batches(given: Objective, dtype: torch.dtype) -> None:
    """To the bit, dropout included: the bad row comes in the second micro-batch, after gradients were collected."""
    found, ears = run(given, toy_source(), dtype=dtype, skip_bad_batch=9)
    expected, calm = run(objective, Gaps(toy_rows()), dtype=dtype)
    skipped = [one for one in ears.found if one.id == "trainer.batch-skipped"]
    assert len(skipped) == 5, "forty updates of nine an epoch"
    assert (found.step, len(ears.steps)) == (40, 40)
    assert [one.loss for one in ears.steps] == [one.loss for one in calm.steps]
    assert all(torch.equal(value, expected.masters[name]) for name, value in found.masters.items())
    assert all(f"rows.jsonl:{BAD_ROW}" in one.values["rows"] for one in skipped)
    assert [one.values["number"] for one in skipped] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("given", [bad_loss, bad_gradient])
def test_one_more_than_allowed_ends_the_run_before_its_update_with_the_state_saved(
    given: Objective, tmp_path: Path
) -> None:
    checkpoints = toy_checkpoints(tmp_path)
    with pytest.raises(DivergedError, match=rf"rows.jsonl:{BAD_ROW}") as caught:
        run(given, toy_source(), checkpoints=checkpoints, skip_bad_batch=2, save_steps=100)
    kept = Path(caught.value.values["kept"])
    facts = json.loads((kept / "trainer_state.json").read_text())
    assert facts["health"]["skipped"] == 2
    assert facts["step"] == caught.value.values["step"] - 1
    found, ears = run(given, toy_source(), checkpoints=checkpoints, skip_bad_batch=9, save_steps=100)
    whole, _ = run(given, toy_source(), skip_bad_batch=9)
    assert found.first_step == facts["step"]
    assert all(torch.equal(value, whole.masters[name]) for name, value in found.masters.items())
    assert [one.values["number"] for one in ears.found if one.id == "trainer.batch-skipped"] == [3, 4, 5]


def test_a_resume_between_two_skips_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, half = toy_checkpoints(tmp_path / "whole"), toy_checkpoints(tmp_path / "half")
    given = {"skip_bad_batch": 9, "save_steps": 20, "lr_scheduler_type": "constant"}
    run(bad_loss, toy_source(), checkpoints=whole, **given)
    run(bad_loss, toy_source(), checkpoints=half, max_steps=20, **given)
    found, ears = run(bad_loss, toy_source(), checkpoints=half, **given)
    assert found.first_step == 20
    assert [one.values["number"] for one in ears.found if one.id == "trainer.batch-skipped"] == [4, 5]
    for name in FILES:
        assert (half.at(40) / name).read_bytes() == (whole.at(40) / name).read_bytes(), name
    states = [json.loads((kept.at(40) / "trainer_state.json").read_text()) for kept in (half, whole)]
    assert [one["health"]["skipped"] for one in states] == [5, 5]
    assert states[0]["source"] == states[1]["source"]


@pytest.mark.parametrize("given", [bad_loss, bad_gradient])
def test_by_default_the_first_one_ends_the_run_and_the_checkpoint_before_it_stays(
    given: Objective, tmp_path: Path
) -> None:
    checkpoints = toy_checkpoints(tmp_path)
    with pytest.raises(DivergedError) as caught:
        run(given, toy_source(), checkpoints=checkpoints, save_steps=1)
    last = caught.value.values["step"] - 1
    assert caught.value.values["kept"] == checkpoints.at(last)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"checkpoint-{n}" for n in range(1, last + 1))


def test_weights_that_are_broken_themselves_blame_no_row_and_are_never_saved(tmp_path: Path) -> None:
    """An update so large that fp32 cannot hold it: every batch after it looks bad."""
    checkpoints = toy_checkpoints(tmp_path)

    def broken(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        if broken.calls == 6:  # type: ignore[attr-defined]
            with torch.no_grad():
                policy.module.head.weight.fill_(float("inf"))
        broken.calls += 1  # type: ignore[attr-defined]
        return objective(policy, batch)

    broken.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(DivergedError) as caught:
        run(broken, toy_source(), checkpoints=checkpoints, skip_bad_batch=50, save_steps=2)
    assert caught.value.id == "trainer.weights-not-finite"
    assert caught.value.values["kept"] == checkpoints.at(2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_a_gradient_of_exactly_zero_is_not_passed_over() -> None:
    def silent(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
        term = objective(policy, batch)["sft"]
        return {"sft": Term(term.sum * 0.0, term.count)}

    with pytest.raises(DivergedError) as caught:
        run(silent, toy_source(), skip_bad_batch=50)
    assert caught.value.id == "trainer.gradient-zero"


def test_a_bad_batch_cut_in_the_middle_leaves_no_gradient_behind() -> None:
    policy = ToyPolicy(dtype=torch.bfloat16)
    with pytest.raises(DivergedError):
        fit(policy, toy_source(rows_per_step=37, rows_per_batch=1), bad_loss, toy_plan(), origin=str)
    assert all(parameter.grad is None for parameter in policy.module.parameters())
    assert all(np.isfinite(p.detach().float().numpy()).all() for p in policy.module.parameters())


def test_a_first_step_that_changes_no_number_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Optimizer, "step", lambda self, rate: None)
    with pytest.raises(DivergedError) as caught:
        run(objective, toy_source())
    assert caught.value.id == "trainer.nothing-learned"
    assert caught.value.values["rate"] > 0


def test_an_update_that_changed_nothing_but_the_optimizer_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Optimizer, "step", lambda self, rate: None)
    with pytest.raises(DivergedError) as caught:
        run(objective, toy_source(), checkpoints=toy_checkpoints(tmp_path), save_steps=100)
    assert caught.value.values["step"] == 2, "the first step of a warm-up has a rate of 0"
    assert caught.value.values["kept"] == "-"
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize(("steps", "ends"), [(3, "trainer.only-rested"), (8, "")])
def test_an_optimizer_that_rests_at_first_is_given_time_and_no_more(steps: int, ends: str) -> None:
    plan = {"optim": "schedule_free_radam", "max_steps": steps}
    if not ends:
        assert run(objective, toy_source(), **plan)[0].step == steps
        return
    with pytest.raises(DivergedError) as caught:
        run(objective, toy_source(), **plan)
    assert caught.value.id == ends


def test_a_run_that_only_rested_says_so_again_when_it_is_given_again_and_goes_on_when_it_is_longer(
    tmp_path: Path,
) -> None:
    plan = {"optim": "schedule_free_radam", "checkpoints": toy_checkpoints(tmp_path)}
    for _ in range(2):
        with pytest.raises(DivergedError) as caught:
            run(objective, toy_source(), max_steps=3, **plan)
        assert caught.value.id == "trainer.only-rested"
        assert not (tmp_path / "model.safetensors").exists()
    longer = run(objective, toy_source(), max_steps=8, **plan)[0]
    assert (longer.first_step, longer.step) == (3, 8)
