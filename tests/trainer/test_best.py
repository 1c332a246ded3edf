"""Stopping early and keeping the best weights: when, which, and the same after a resume."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.torch import load_file
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory.errors import MachineError
from llama_factory.records import Finding
from llama_factory.trainer import FitResult, fit
from llama_factory.trainer.best import Best
from llama_factory.trainer.observers import Quiet


class Notes(Quiet):
    def __init__(self) -> None:
        self.said: dict[str, Mapping[str, object]] = {}

    def noticed(self, finding: Finding) -> None:
        self.said[finding.id] = finding.values


def run(folder: Path, losses: Mapping[int, float], *, notes: Notes | None = None, **changes: object) -> FitResult:
    """A run that is evaluated every 2 steps and saved every 3; `losses` are the evaluations by step."""
    policy, source = ToyPolicy(dropout=0.2), toy_source()
    plan = toy_plan(**{
        "max_steps": 20, "save_steps": 3, "eval_strategy": "steps", "eval_steps": 2, "keep_best": True,
        "early_stopping_patience": 2, **changes,
    })  # fmt: skip
    return fit(
        policy,
        source,
        objective,
        plan,
        observers=[notes or Notes()],
        checkpoints=toy_checkpoints(folder),
        evaluate=lambda: {"eval_loss": losses[source.updates]},
    )


LOSSES = {2: 5.0, 4: 4.0, 6: 4.5, 8: 3.0, 10: 3.0, 12: 3.5, 14: 1.0, 16: 1.0, 18: 1.0, 20: 1.0}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult, Notes]:
    """Best at step 8; 10 ties, 12 is worse: stopped after 12, and 14 is never seen."""
    folder, notes = tmp_path_factory.mktemp("alone"), Notes()
    return folder, run(folder, LOSSES, notes=notes), notes


def test_a_run_stops_when_patience_evaluations_in_a_row_are_no_better_and_says_why(
    alone: tuple[Path, FitResult, Notes],
) -> None:
    _, result, notes = alone
    assert (result.step, result.stopped_early, result.best_step) == (12, True, 8)
    said = notes.said["trainer.stopped-early"]
    assert (said["step"], said["total"], said["waited"], said["best"], said["best_step"]) == (12, 20, 2, "3.0000", 8)


def test_the_result_has_the_weights_of_the_best_evaluation_though_none_was_saved_at_its_step(
    alone: tuple[Path, FitResult, Notes], tmp_path: Path
) -> None:
    folder, result, _ = alone
    assert not (folder / "checkpoint-8").exists()
    assert result.metrics == {"eval_loss": 3.0}
    # The learning rate follows the length of the plan, so the witness is a run of 20 that saves at step 8.
    run(tmp_path, LOSSES, keep_best=False, save_steps=8)
    expected = (tmp_path / "checkpoint-8" / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == expected
    assert (folder / "best" / "model.safetensors").read_bytes() == expected
    assert json.loads((folder / "best" / "best.json").read_text())["step"] == 8
    assert not (folder / "best.json").exists()
    last = load_file(tmp_path / "model.safetensors")["head.weight"]
    assert not last.equal(load_file(folder / "model.safetensors")["head.weight"])


@pytest.mark.parametrize("step", [3, 6, 9])
def test_a_run_resumed_from_any_checkpoint_stops_and_ends_as_one_left_alone(
    step: int, alone: tuple[Path, FitResult, Notes], tmp_path: Path
) -> None:
    """`best/` is there already, from the steps that are made again."""
    folder, result, _ = alone
    shutil.copytree(folder / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    shutil.copytree(folder / "best", tmp_path / "best")
    again = run(tmp_path, LOSSES)
    assert (again.first_step, again.step, again.best_step) == (step, result.step, result.best_step)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_the_same_command_after_an_early_stop_trains_no_further(alone: tuple[Path, FitResult, Notes]) -> None:
    folder, _, _ = alone
    before = (folder / "model.safetensors").read_bytes()
    again = run(folder, LOSSES)
    assert (again.first_step, again.step, again.best_step) == (12, 12, 8)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_kept_best_model_is_never_replaced_by_a_worse_one(
    alone: tuple[Path, FitResult, Notes], tmp_path: Path
) -> None:
    """Steps that are made again may come out otherwise on a GPU."""
    folder, _, _ = alone
    shutil.copytree(folder / "checkpoint-6", tmp_path / "checkpoint-6")
    shutil.copytree(folder / "best", tmp_path / "best")
    result = run(tmp_path, {**LOSSES, 8: 3.9, 10: 3.8, 12: 3.9, 14: 3.9})
    assert (result.step, result.best_step, result.metrics) == (14, 8, {"eval_loss": 3.0})


def test_a_best_model_that_was_damaged_is_not_published(alone: tuple[Path, FitResult, Notes], tmp_path: Path) -> None:
    folder, _, _ = alone
    for name in ("checkpoint-12", "best"):
        shutil.copytree(folder / name, tmp_path / name)
    file = tmp_path / "best" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(MachineError, match=r"model\.safetensors"):
        run(tmp_path, LOSSES)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_run_that_starts_anew_does_not_publish_what_another_one_kept(
    alone: tuple[Path, FitResult, Notes], tmp_path: Path
) -> None:
    shutil.copytree(alone[0] / "best", tmp_path / "best")
    notes = Notes()
    result = run(tmp_path, {**LOSSES, 2: 9.0, 4: 9.5, 6: 9.5}, notes=notes, save_strategy="no")
    assert (result.step, result.best_step) == (6, 2)
    assert notes.said["trainer.best-put-away"]["moved"] == "superseded-best"
    assert json.loads((tmp_path / "superseded-best" / "best.json").read_text())["step"] == 8


def test_without_early_stopping_the_run_goes_to_its_end_and_keeps_the_best(tmp_path: Path) -> None:
    result = run(tmp_path, {**LOSSES, 18: 0.5}, early_stopping_patience=None)
    assert (result.step, result.stopped_early, result.best_step) == (20, False, 18)


def test_early_stopping_alone_leaves_the_last_weights_and_no_folder(tmp_path: Path) -> None:
    result = run(tmp_path, LOSSES, keep_best=False)
    assert (result.step, result.best_step, result.metrics) == (12, None, {"eval_loss": 3.5})
    assert not (tmp_path / "best").exists()
    saved = (tmp_path / "checkpoint-12" / "model.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").read_bytes() == saved


def test_running_out_of_patience_at_the_very_end_is_no_early_stop(tmp_path: Path) -> None:
    notes = Notes()
    result = run(tmp_path, LOSSES, max_steps=12, notes=notes)
    assert (result.step, result.stopped_early) == (12, False)
    assert "trainer.stopped-early" not in notes.said


def test_what_counts_as_better() -> None:
    best = Best("eval_loss", False, 2, 0.1)
    judged = [best.judge({"eval_loss": value}, step) for step, value in enumerate((2.0, 1.95, float("nan")), 1)]
    assert (judged, best.value, best.step, best.waited, best.hopeless) == ([True, True, False], 1.95, 2, 2, True)
    greater = Best("accuracy", True, None, 0.0)
    assert [greater.judge({"accuracy": value}, 1) for value in (0.5, 0.4, 0.5, 0.6)] == [True, False, False, True]
    assert not greater.hopeless
    again = Best("eval_loss", False, 2, 0.1)
    again.restore(json.loads(json.dumps(best.state())))
    assert again == best
