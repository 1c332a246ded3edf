"""What `check` says of a run's memory, planned from the shape of its model."""

from __future__ import annotations

from typing import Any

import pytest

from llama_factory.recipes import foresight

MB = 1_000_000


def test_the_plan_stands_in_the_summary(checked: Any) -> None:
    report = checked()
    assert report.exit_code == 0
    assert 100 * MB < report.summary["planned_bytes"] < 1000 * MB


@pytest.mark.plants("planner.will-not-fit")
def test_a_run_that_cannot_fit_is_an_error_of_the_machine(checked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foresight.machine, "free_memory", lambda: 60 * MB)
    report = checked()
    assert report.exit_code == 4
    (found,) = [one for one in report.findings if one.severity == "error"]
    assert found.values["free"] == "0.06 GB"
    assert checked(ignore_memory_plan=True).exit_code == 0


@pytest.mark.plants("planner.checkpoints")
def test_a_run_that_fits_only_with_checkpointing_is_told_so_and_tried_so(
    checked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = (checked(gradient_checkpointing=on).summary["planned_bytes"] for on in (False, True))
    monkeypatch.setattr(foresight.machine, "free_memory", lambda: (once + twice) // 2)
    report = checked()
    assert report.exit_code == 0
    assert report.summary["planned_bytes"] == twice
    assert checked(gradient_checkpointing=False).exit_code == 4


@pytest.mark.plants("planner.nearly-full")
def test_a_run_that_leaves_less_than_a_fifth_is_warned_of(checked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = checked().summary["planned_bytes"]
    monkeypatch.setattr(foresight.machine, "free_memory", lambda: int(needed * 1.1))
    assert checked().exit_code == 0


@pytest.mark.plants("planner.type-unknown")
def test_a_type_whose_shape_is_not_known_gets_no_plan(checked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_factory.planner.shape.FAMILIES", {})
    report = checked()
    assert report.exit_code == 0
    assert "planned_bytes" not in report.summary


def test_learned_prompts_have_a_plan_too(checked: Any) -> None:
    report = checked(finetuning_type="prompt_tuning", lora_rank=None, lora_target=None)
    assert 100 * MB < report.summary["planned_bytes"] < 1000 * MB
