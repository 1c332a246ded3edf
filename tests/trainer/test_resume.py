"""Checkpoints and going on from them: exact to the bit, past broken ones, never into another run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory import storage
from llama_factory.errors import InputError, MachineError
from llama_factory.records import Finding
from llama_factory.trainer import FitResult, fit
from llama_factory.trainer.observers import JsonLines, Quiet
from llama_factory.trainer.observers.jsonl import NAME as LOG
from llama_factory.trainer.observers.jsonl import read

BITS = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")


class Notes(Quiet):
    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def noticed(self, finding: Finding) -> None:
        self.findings.append(finding)

    @property
    def ids(self) -> list[str]:
        return [finding.id for finding in self.findings]


def run(
    folder: Path,
    *,
    notes: Notes | None = None,
    dtype: torch.dtype = torch.float32,
    plan: Mapping[str, object] | None = None,
    **checkpoints: object,
) -> FitResult:
    policy, source = ToyPolicy(dropout=0.2, dtype=dtype), toy_source()
    observers = [JsonLines(folder / LOG), notes or Notes()]
    kept = toy_checkpoints(folder, **checkpoints)
    return fit(policy, source, objective, toy_plan(**(plan or {})), observers=observers, checkpoints=kept)


def bits(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in BITS}


def figures(folder: Path) -> list[dict[str, object]]:
    """The log without what was measured of the machine."""
    clocks = {"elapsed_time", "remaining_time", "tokens_per_second", "cpu_percent", "memory_gb", "memory_percent"}
    return [{key: value for key, value in line.items() if key not in clocks} for line in read(folder / LOG)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 40 steps left alone, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder).step == 40
    assert [path.name for path in storage.newest_whole(folder)] == [f"checkpoint-{n}" for n in range(40, 0, -1)]
    return folder


@pytest.mark.parametrize("step", [*range(1, 40)])
def test_a_run_resumed_from_any_of_its_checkpoints_ends_with_the_same_bytes(
    step: int, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    shutil.copy(whole / LOG, tmp_path / LOG)
    result = run(tmp_path, plan={"save_steps": 100})
    assert (result.first_step, result.step) == (step, 40)
    assert bits(tmp_path / "checkpoint-40") == bits(whole / "checkpoint-40")
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert figures(tmp_path) == figures(whole)


def test_dropout_was_at_work_in_these_runs(whole: Path) -> None:
    without = fit(ToyPolicy(dropout=0.0), toy_source(), objective, toy_plan())
    with_it = load_file(whole / "model.safetensors")
    assert without.masters.keys() == with_it.keys()
    assert not torch.equal(without.masters["head.weight"], with_it["head.weight"])


def test_bf16_weights_with_their_masters_resume_to_the_bit_too(tmp_path: Path) -> None:
    run(tmp_path / "a", dtype=torch.bfloat16)
    for step in (1, 17, 39):
        shutil.copytree(tmp_path / "a" / f"checkpoint-{step}", tmp_path / f"b{step}" / f"checkpoint-{step}")
        run(tmp_path / f"b{step}", dtype=torch.bfloat16)
        assert bits(tmp_path / f"b{step}" / "checkpoint-40") == bits(tmp_path / "a" / "checkpoint-40")


def test_log_files_are_cut_back_to_the_step_that_the_run_goes_on_from(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "checkpoint-15", tmp_path / "checkpoint-15")
    shutil.copy(whole / LOG, tmp_path / LOG)
    with (tmp_path / LOG).open("a") as log:
        log.write('{"current_steps": 40, "lo')  # torn by a crash
    run(tmp_path)
    steps = [line["current_steps"] for line in read(tmp_path / LOG)]
    assert steps == [7, 14, 21, 28, 35, 40]
    assert (tmp_path / LOG).read_text().count("\n") == 6


def test_a_broken_newest_checkpoint_is_said_and_passed_over(whole: Path, tmp_path: Path) -> None:
    for step in (30, 31):
        shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    broken = tmp_path / "checkpoint-31" / "optimizer.safetensors"
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    notes = Notes()
    result = run(tmp_path, notes=notes, resume=True)
    assert result.resumed_from == tmp_path / "checkpoint-30"
    assert notes.ids == ["trainer.checkpoint-skipped", "trainer.resumed"]
    assert "optimizer.safetensors" in notes.findings[0].values["reason"]
    assert bits(tmp_path / "checkpoint-40") == bits(whole / "checkpoint-40")
    storage.verify(tmp_path / "checkpoint-31")  # written anew on the way
    assert (tmp_path / "checkpoint-31.broken").is_dir()


def test_a_broken_checkpoint_with_a_high_number_does_not_push_out_whole_ones(whole: Path, tmp_path: Path) -> None:
    for step in (20, 39):
        shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    weights = tmp_path / "checkpoint-39" / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    run(tmp_path, limit=1, plan={"save_steps": 100, "max_steps": 30})
    assert [path.name for path in storage.newest_whole(tmp_path)] == ["checkpoint-30"]


def test_only_broken_checkpoints_are_an_error_that_names_them(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "checkpoint-9", tmp_path / "checkpoint-9")
    (tmp_path / "checkpoint-9" / "rng.safetensors").unlink()
    with pytest.raises(MachineError, match=r"rng\.safetensors") as caught:
        run(tmp_path)
    assert caught.value.id == "trainer.no-whole-checkpoint"


def test_a_named_checkpoint_begins_a_new_branch_and_keeps_the_old_one_aside(whole: Path, tmp_path: Path) -> None:
    for step in (5, 6, 7):
        shutil.copytree(whole / f"checkpoint-{step}", tmp_path / f"checkpoint-{step}")
    notes = Notes()
    named = str(tmp_path / "checkpoint-5")
    run(tmp_path, notes=notes, resume=named, plan={"max_steps": 6}, limit=2)
    assert notes.ids == ["trainer.superseded", "trainer.superseded", "trainer.resumed", "trainer.other-length"]
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["checkpoint-5", "checkpoint-6", "superseded-checkpoint-6", "superseded-checkpoint-7"]


def test_a_checkpoint_of_another_folder_can_be_named_and_stays_untouched(whole: Path, tmp_path: Path) -> None:
    before = sorted(whole.iterdir())
    run(tmp_path, resume=str(whole / "checkpoint-38"))
    assert bits(tmp_path / "checkpoint-40") == bits(whole / "checkpoint-40")
    assert sorted(whole.iterdir()) == before


def test_another_runs_folder_is_refused_with_the_keys_that_differ(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    for resume in (None, True, str(whole / "checkpoint-3")):
        with pytest.raises(InputError, match=r"rank: 8 -> 16; rows: 37 toys -> 38 toys") as caught:
            toy_checkpoints(whole, identity={"rows": "38 toys", "rank": 16}, resume=resume).claim()
        assert (caught.value.id, caught.value.exit_code) == ("trainer.other-run", 2)
    with pytest.raises(InputError) as caught:
        toy_checkpoints(whole, identity={"rank": 16, "block": 32, "dropout": 0.0}).claim()
    assert caught.value.values["differences"] == "rank: 8 -> 16", "not the keys that another method alone has"
    with pytest.raises(InputError, match="holds another run"):
        toy_checkpoints(whole, resume=False).claim()
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_other_settings_pass_only_if_the_user_asks_to_resume(whole: Path, tmp_path: Path) -> None:
    run(tmp_path, plan={"max_steps": 3}, settings={"learning_rate": 3e-3})
    with pytest.raises(InputError, match=r"learning_rate: 0.003 -> 0.001"):
        run(tmp_path, plan={"max_steps": 6}, settings={"learning_rate": 1e-3})
    notes = Notes()
    result = run(tmp_path, notes=notes, plan={"max_steps": 6}, settings={"learning_rate": 1e-3}, resume=True)
    assert (result.first_step, result.step) == (3, 6)
    assert notes.ids == ["trainer.settings-changed", "trainer.resumed", "trainer.other-length"]


def test_nothing_left_to_do_is_said_and_is_no_error(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "checkpoint-40", tmp_path / "checkpoint-40")
    notes = Notes()
    result = run(tmp_path, notes=notes)
    assert (result.first_step, result.step, result.loss) == (40, 40, None)
    assert notes.ids == ["trainer.nothing-left"]
    assert (tmp_path / "model.safetensors").read_bytes() == bits(whole / "checkpoint-40")["model.safetensors"]


def test_a_finished_run_that_asks_for_more_epochs_goes_on(tmp_path: Path) -> None:
    more = {"max_steps": -1, "lr_scheduler_type": "constant"}
    assert run(tmp_path / "a", plan={**more, "num_train_epochs": 2.0}).step == 20
    result = run(tmp_path / "a", plan={**more, "num_train_epochs": 3.0})
    assert (result.first_step, result.step, result.epoch) == (20, 30, 3.0)
    run(tmp_path / "b", plan={**more, "num_train_epochs": 3.0})
    assert bits(tmp_path / "a" / "checkpoint-30") == bits(tmp_path / "b" / "checkpoint-30")


def test_resume_true_without_any_checkpoint_starts_anew_and_says_so(tmp_path: Path) -> None:
    notes = Notes()
    assert run(tmp_path, notes=notes, resume=True, plan={"max_steps": 2}).first_step == 0
    assert notes.ids == ["trainer.no-checkpoint-yet"]


def test_a_finished_result_without_checkpoints_is_not_written_over(tmp_path: Path) -> None:
    run(tmp_path, plan={"max_steps": 2, "save_strategy": "no"})
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="holds another run"):
        run(tmp_path, plan={"max_steps": 3, "save_strategy": "no"})
    assert (tmp_path / "model.safetensors").read_bytes() == before
    run(tmp_path, plan={"max_steps": 3, "save_strategy": "no"}, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() != before


def test_overwrite_deletes_the_old_checkpoints_and_starts_anew(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "checkpoint-38", tmp_path / "checkpoint-38")
    result = run(tmp_path, overwrite=True, identity={"rows": "other"}, plan={"max_steps": 2})
    assert result.first_step == 0
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"trainer_state\.json") as caught:
        run(tmp_path, resume=str(tmp_path / "nowhere"))
    assert caught.value.where == str(tmp_path / "nowhere")


def test_weights_that_the_checkpoint_does_not_have_are_refused(whole: Path) -> None:
    with pytest.raises(InputError, match="1 differ, the first is extra"):
        toy_checkpoints(whole).find([*ToyPolicy().trainable(), "extra"])


def test_the_limit_removes_the_oldest_after_the_newest_is_whole(tmp_path: Path) -> None:
    most = 0

    class Count(Quiet):
        def saved(self, step: int, folder: Path) -> None:
            nonlocal most
            storage.verify(folder)
            most = max(most, len(storage.numbered(tmp_path)))

    plan = toy_plan(max_steps=9, save_steps=2)
    fit(ToyPolicy(), toy_source(), objective, plan, observers=[Count()], checkpoints=toy_checkpoints(tmp_path, limit=2))
    assert most == 2
    assert [path.name for path in storage.newest_whole(tmp_path)] == ["checkpoint-9", "checkpoint-8"]


def test_a_checkpoint_holds_tensors_and_json_and_nothing_that_runs(whole: Path) -> None:
    files = sorted(path.name for path in (whole / "checkpoint-20").iterdir())
    assert files == ["MANIFEST.json", *sorted(BITS), "trainer_state.json"]
    facts = json.loads((whole / "checkpoint-20" / "trainer_state.json").read_text())
    assert (facts["step"], facts["source"]) == (20, {"taken": 20})


def test_evaluating_more_often_does_not_change_what_is_trained(whole: Path, tmp_path: Path) -> None:
    def evaluate() -> dict[str, float]:
        return {"eval_loss": float(torch.rand(())) + float(torch.nn.functional.dropout(torch.ones(9)).sum())}

    plan = toy_plan(eval_strategy="steps", eval_steps=3, save_steps=100)
    kept = toy_checkpoints(tmp_path)
    fit(ToyPolicy(dropout=0.2), toy_source(), objective, plan, checkpoints=kept, evaluate=evaluate)
    assert bits(tmp_path / "checkpoint-40") == bits(whole / "checkpoint-40")
