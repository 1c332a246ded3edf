"""`check --step`: one real step that leaves nothing behind, and every way in which it can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planting import copy_of, good_rows, ids, settings, write
from safetensors.torch import load_file, save_file
from torch import nn

from llama_factory import data, machine
from llama_factory.apps.cli import main
from llama_factory.config import from_mapping
from llama_factory.losses import Term
from llama_factory.model.policy import Policy
from llama_factory.recipes import sft, trial
from llama_factory.recipes.check import Report, check

ROOT = Path(__file__).parents[2]
LONG = {"prompt": "Tell me all that you know. " * 9, "response": "This and that and more. " * 9}
FULL_RATE = {"lora": 1e-3, "freeze": 1e-5, "full": 1e-5}
OWN_PADDING = {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "micro_batch_tokens": 200}


@pytest.fixture
def tried(checked: Callable[..., Report]) -> Callable[..., Report]:
    """`checked` with one real step; the stages that it went through are in `report.summary["stages"]`."""

    def run(*rows: Any, **changes: Any) -> Report:
        stages: list[str] = []
        report = checked(*rows, step=stages.append, **changes)
        report.summary["stages"] = stages
        return report

    return run


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("method", ["lora", "freeze", "full"])
def test_a_step_is_made_saved_opened_again_and_leaves_nothing(tried, method: str, exact: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "checkpoint-7").mkdir(parents=True)
    (out / "adapter_model.safetensors").write_text("of an earlier run")
    before = seen(out)
    report = tried(finetuning_type=method, learning_rate=FULL_RATE[method], bf16=False if exact else None)
    assert report.findings == []
    assert report.exit_code == 0
    assert report.summary["stages"] == ["load", "step", "reopen"]
    found = report.trial
    assert found is not None
    assert found.difference <= trial.SAME
    assert 1 < found.loss < 20
    assert found.grad_norm > 0
    assert 0 < found.trained <= found.total
    assert (found.trained == found.total) == (method == "full")
    assert min(found.load_s, found.step_s, found.reopen_s, found.run_s) > 0
    assert 10_000_000 < found.peak < found.ram
    assert found.eval_loss is None
    assert seen(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out", "rows.jsonl"]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {"use_dora": True},
        {"use_rslora": True, "loraplus_lr_ratio": 4},
        {"pissa_init": True, "pissa_iter": 4},
        {"additional_target": "embed_tokens,lm_head"},
    ],
    ids=["dora", "rslora", "pissa", "whole modules"],
)
def test_a_step_of_a_variant_of_lora_is_opened_again_as_it_was(tried, given: dict[str, Any], exact: bool) -> None:
    report = tried(learning_rate=1e-4, bf16=False if exact else None, **given)
    assert report.findings == []
    assert report.trial is not None
    assert report.trial.difference <= trial.SAME


def test_an_optimizer_that_rests_at_first_is_tried_until_it_moves(tried) -> None:
    given = {"optim": "schedule_free_radam", "lr_scheduler_type": "constant", "learning_rate": 1e-4}
    report = tried(**given)
    assert report.findings == []
    assert report.trial is not None
    assert report.trial.difference <= trial.SAME


def test_the_batch_is_the_largest_one_that_the_run_builds(tried, tiny_model: Path, tmp_path: Path) -> None:
    rows = [*good_rows(30), LONG, *good_rows(17), LONG, *good_rows(5)]
    found = tried(rows, **OWN_PADDING).trial
    given = settings(tiny_model, tmp_path, rows) | OWN_PADDING
    batches = [batch for step in steps_of(given, tmp_path) for batch in step.batches]
    assert len(batches) == 40
    assert found.tokens == max(batch.ids_T.size for batch in batches)
    assert found.rows in {batch.rows.size for batch in batches if batch.ids_T.size == found.tokens}


def steps_of(given: dict[str, Any], folder: Path) -> Iterator[Any]:
    from llama_factory.model.locate import locate_for
    from llama_factory.recipes.wiring import source_of
    from llama_factory.render import renderer_for

    run = from_mapping(given, "test")
    renderer = renderer_for(run, locate_for(run).base)
    rows = data.prepare(run, renderer, cache=folder / "cache", say=lambda text: None)
    source = source_of(run, rows, sft.TERM)
    for _ in range(2 * source.steps_per_epoch):
        yield source.next_step()


def test_the_loss_is_that_of_the_run_on_the_same_rows(tried, tiny_model: Path, tmp_path: Path) -> None:
    from llama_factory import recipes

    rows = good_rows(4)
    found = tried(rows, max_steps=1, lora_dropout=0.0).trial
    given = settings(tiny_model, tmp_path, rows) | {"max_steps": 1, "report_to": "none", "lora_dropout": 0.0}
    assert recipes.train(from_mapping(given, "test"), say=lambda line: None).train_loss == pytest.approx(found.loss)


def test_the_largest_validation_batch_is_measured_too(tried, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.jsonl", [{"prompt": "And now?", "response": "Nothing at all."}])
    report = tried(eval_dataset=judged, eval_strategy="epoch")
    assert ids(report) == []
    assert 1 < report.trial.eval_loss < 20


def test_an_adapter_is_trained_on_from_where_it_stands(tried, tiny_model: Path, tmp_path: Path) -> None:
    from llama_factory import recipes

    given = settings(tiny_model, tmp_path) | {"max_steps": 2, "report_to": "none", "output_dir": str(tmp_path / "one")}
    recipes.train(from_mapping(given, "test"), say=lambda line: None)
    for more in ({}, {"create_new_adapter": True, "lora_rank": 2}):
        report = tried(adapter_name_or_path=str(tmp_path / "one"), **more)
        assert ids(report) == []
        assert report.trial.difference <= trial.SAME


def test_no_step_is_made_where_something_else_is_wrong(tried) -> None:
    report = tried(max_steps=1, warmup_steps=1)
    assert ids(report, "error") == ["config.rate-stays-zero"]
    assert report.trial is None
    assert report.summary["stages"] == []


# --- what it finds -----------------------------------------------------------------------------------------


@pytest.mark.plants("machine.memory-nearly-full")
def test_a_peak_above_nine_tenths_of_the_memory_is_found(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(machine.describe(), ram=int(machine.memory().peak * 1.05))
    monkeypatch.setattr(machine, "describe", lambda: small)
    report = tried()
    (found,) = report.findings
    assert (found.id, found.severity) == ("machine.memory-nearly-full", "warning")
    assert found.values["share"] > 90
    assert found.values["tokens"] == report.trial.tokens
    assert report.exit_code == 0


def spoiled(how: Callable[[torch.Tensor], torch.Tensor], *, training: bool = True) -> Callable[..., dict[str, Term]]:
    """The objective of the run, whose sum comes out otherwise: while training, or while measuring."""

    def objective(policy: Any, batch: Any) -> dict[str, Term]:
        terms = dict(sft.objective(policy, batch))
        if torch.is_grad_enabled() == training:
            terms[sft.TERM] = replace(terms[sft.TERM], sum=how(terms[sft.TERM].sum))
        return terms

    return objective


@pytest.mark.plants("trainer.loss-not-finite")
def test_a_loss_that_is_no_number_is_the_last_finding(tried, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial, "objective_of", lambda run: spoiled(lambda loss: loss * float("nan")))
    report = tried()
    assert ids(report) == ["trainer.loss-not-finite"]
    assert "rows.jsonl:" in report.findings[0].values["rows"]
    assert report.exit_code == 5
    assert report.trial is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "rows.jsonl"]


@pytest.mark.plants("trainer.gradient-zero")
def test_a_gradient_of_zero_is_the_last_finding(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "objective_of", lambda run: spoiled(lambda loss: loss * 0.0))
    report = tried()
    assert ids(report) == ["trainer.gradient-zero"]
    assert report.exit_code == 5


@pytest.mark.plants("trainer.gradient-not-finite")
def test_a_gradient_that_is_no_number_is_the_last_finding(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "objective_of", lambda run: spoiled(lambda loss: loss + (loss - loss.detach()).sqrt()))
    report = tried()
    assert ids(report) == ["trainer.gradient-not-finite"]
    assert report.exit_code == 5


@pytest.mark.plants("trainer.evaluation-not-finite")
def test_a_validation_loss_that_is_no_number_is_found(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "objective", spoiled(lambda loss: loss * float("nan"), training=False))
    report = tried(val_size=4, eval_strategy="epoch")
    assert ids(report) == ["trainer.evaluation-not-finite"]
    assert report.exit_code == 0


@pytest.mark.plants("model.answers-not-finite")
def test_weights_that_are_no_numbers_are_found(tried, tiny_model: Path, tmp_path: Path) -> None:
    model = Path(copy_of(tiny_model, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    report = tried(model_name_or_path=str(model))
    assert ids(report) == ["model.answers-not-finite"]
    assert report.exit_code == 2


@pytest.mark.plants("model.policy-differs")
def test_a_fast_path_that_computes_something_else_is_found(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Policy.plain
    monkeypatch.setattr(
        Policy, "plain", lambda self, batch: replace(plain(self, batch), logprob_S=plain(self, batch).logprob_S - 1)
    )
    assert tried().exit_code == 6


@pytest.mark.plants("trainer.not-reached")
def test_a_trained_tensor_that_no_gradient_comes_to_is_found(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_of = trial.policy_of

    def with_a_spare_one(bench: Any) -> Any:
        policy, said = policy_of(bench)
        policy.module.register_parameter("spare", nn.Parameter(torch.ones(3)))
        return policy, said

    monkeypatch.setattr(trial, "policy_of", with_a_spare_one)
    (found,) = [one for one in tried().findings if one.id == "trainer.not-reached"]
    assert (found.severity, found.values["count"], found.values["first"]) == ("warning", 1, "spare")
    assert found.values["total"] == 2 * 2 * 7 + 1


SPOILT_FILES = {
    "lora": ("adapter_model.safetensors", "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"),
    "freeze": ("model.safetensors", "model.layers.1.mlp.up_proj.weight"),
    "full": ("model.safetensors", "model.embed_tokens.weight"),
}


@pytest.mark.plants("model.reopened-differs")
@pytest.mark.parametrize("method", SPOILT_FILES)
def test_files_that_are_not_what_was_trained_are_found(
    tried, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One number in one tensor, so little that no log-probability shows it."""
    name, key = SPOILT_FILES[method]
    save = trial._save

    def save_and_spoil(bench: Any, policy: Any, result: Any, target: Path) -> None:
        save(bench, policy, result, target)
        tensors = load_file(target / name)
        tensors[key].view(-1)[0] += 0.01
        save_file(tensors, target / name, metadata={"format": "pt"})

    monkeypatch.setattr(trial, "_save", save_and_spoil)
    report = tried(finetuning_type=method, learning_rate=FULL_RATE[method])
    assert ids(report) == ["model.reopened-differs"]
    assert report.findings[0].values["count"] == 1
    assert report.exit_code == 6
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".writing")]


@pytest.mark.plants("model.reopened-differs")
def test_an_adapter_that_is_opened_with_another_strength_is_found(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    save = trial._save

    def save_and_spoil(bench: Any, policy: Any, result: Any, target: Path) -> None:
        save(bench, policy, result, target)
        file = target / "adapter_config.json"
        said = json.loads(file.read_text())
        file.write_text(json.dumps(said | {"lora_alpha": said["lora_alpha"] + 1}))

    monkeypatch.setattr(trial, "_save", save_and_spoil)
    report = tried()
    assert ids(report) == ["model.reopened-differs"]
    assert report.findings[0].values["count"] == 2 * 7


@pytest.mark.plants("machine.no-memory-for-step")
def test_memory_that_runs_out_in_the_step_is_the_last_finding(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = lambda policy, batch: torch.empty(1 << 50)  # noqa: E731  torch's allocator refuses
    monkeypatch.setattr(trial, "objective_of", lambda run: refused)
    report = tried()
    assert ids(report) == ["machine.no-memory-for-step"]
    assert report.findings[0].values["tokens"] > 100
    assert report.exit_code == 4


@pytest.mark.plants("trainer.micro-batch-halved")
def test_a_step_that_fits_in_smaller_micro_batches_says_which_key_to_set(
    tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def small(policy: Any, batch: Any) -> Any:
        sizes.append(batch.ids_T.size)
        return torch.empty(1 << 50) if batch.rows.size > 1 and len(sizes) == 1 else sft.objective(policy, batch)

    monkeypatch.setattr(trial, "objective_of", lambda run: small)
    report = tried()
    assert ids(report) == ["trainer.micro-batch-halved"]
    assert report.findings[0].values["tokens"] == sizes[0] == report.findings[0].values["now"] * 2 + sizes[0] % 2
    assert report.exit_code == 0


@pytest.mark.plants("model.no-memory")
def test_memory_that_runs_out_while_loading_is_the_last_finding(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *given, **named: torch.empty(1 << 50))
    report = tried()
    assert ids(report) == ["model.no-memory"]
    assert report.exit_code == 4


def test_another_fault_in_the_step_is_not_called_a_lack_of_memory(tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "objective_of", lambda run: lambda policy, batch: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError):
        tried()


@pytest.mark.faults
@pytest.mark.plants("storage.full")
def test_a_full_disk_is_found_and_left_as_it_was(tried, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        report = tried(output_dir=str(disk / "out"), finetuning_type="full", learning_rate=1e-5)
        assert ids(report, "error") == ["storage.full"]
        assert report.findings[-1].where == str(disk / "out")
        assert report.exit_code == 4
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_ctrl_c_in_the_step_ends_it_and_leaves_nothing(tried, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(policy: Any, batch: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return sft.objective(policy, batch)

    monkeypatch.setattr(trial, "objective_of", lambda run: interrupted)
    with pytest.raises(KeyboardInterrupt):
        tried()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "rows.jsonl"]


# --- how it is shown ---------------------------------------------------------------------------------------


@pytest.fixture
def words(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    return ["check", *(f"{key}={value}" for key, value in settings(tiny_model, tmp_path).items()), "--step"]


def test_the_figures_are_one_object_of_the_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["findings"] == []
    assert set(told["step"]) == {
        "trained", "total", "rows", "tokens", "loss", "eval_loss", "grad_norm", "load_s", "step_s", "reopen_s",
        "peak", "ram", "difference", "run_s",
    }  # fmt: skip
    assert main([*words[:-1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] is None


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", ("whole run", "an estimate, 118 steps")), ("zh", ("整次训练", "估计值，118 步"))],
)
def test_the_figures_are_shown(
    words: list[str],
    language: str,
    expected: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_LANG", language)
    assert main([*words, "val_size=4", "eval_strategy=epoch"]) == 0
    told = capsys.readouterr()
    for text in expected:
        assert text in told.out
    assert len(told.err.strip().splitlines()) == 3  # what is begun is told apart from the result


def test_step_without_data_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--config-only"]) == 2
    assert "--config-only" in capsys.readouterr().err


def test_the_help_explains_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for language in ("en", "zh"):
        monkeypatch.setenv("LLAMA_FACTORY_LANG", language)
        assert main(["help", "check"]) == 0
        assert capsys.readouterr().out.count("--step") >= 3


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("method", "exact"), [("lora", False), ("freeze", True), ("full", True)])
def test_a_real_model_makes_its_step(method: str, exact: bool, real_model: Path, tmp_path: Path) -> None:
    given = settings(real_model, tmp_path) | {"finetuning_type": method, "learning_rate": FULL_RATE[method]}
    given |= {"dataset": str(ROOT / "data" / "identity.json"), **({"bf16": False} if exact else {})}
    report = check(lambda: from_mapping(given, "test"), cache=tmp_path / "cache", step=lambda stage: None)
    assert ids(report, "error") == []
    assert report.trial is not None
    assert report.trial.difference <= trial.SAME
    assert 0.1 < report.trial.loss < 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "rows.jsonl"]
