"""Supervised fine-tuning of a tiny model: what it leaves behind, and that a resumed run is the same run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from recipe_settings import digests, settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors import InputError


def train(given: dict) -> recipes.Outcome:
    return recipes.train(from_mapping(given, "test"), say=lambda line: None)


def log(folder: Path) -> list[dict]:
    keys = ("current_steps", "loss", "eval_loss", "lr", "epoch", "grad_norm")
    lines = [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in keys if key in line} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_resumed_from_any_checkpoint_ends_with_the_bytes_of_the_run_left_alone(
    tiny_model, rows, tmp_path, bf16
) -> None:
    whole = tmp_path / "whole"
    train(settings(tiny_model, rows, whole, bf16=bf16))
    result = digests(whole, "adapter_model.safetensors", "checkpoint-40/optimizer.safetensors")
    saved = sorted(int(path.name.split("-")[1]) for path in whole.glob("checkpoint-*"))
    assert saved == [7, 14, 21, 28, 35, 40]
    for step in saved[:-1]:
        again = tmp_path / f"from-{step}"
        again.mkdir()
        shutil.copytree(whole / f"checkpoint-{step}", again / f"checkpoint-{step}")
        shutil.copy(whole / "trainer_log.jsonl", again)
        train(settings(tiny_model, rows, again, bf16=bf16, resume_from_checkpoint=True))
        assert digests(again, "adapter_model.safetensors", "checkpoint-40/optimizer.safetensors") == result
        assert log(again) == log(whole)


def test_what_a_run_leaves_behind(tiny_model, rows, tmp_path) -> None:
    output = tmp_path / "run"
    outcome = train(settings(tiny_model, rows, output, max_steps=6, save_total_limit=1, save_steps=2))
    left = {path.name for path in output.iterdir()}
    assert {
        "MANIFEST.json", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "checkpoint-6",
        "llama_factory.json", "report.html", "resolved_config.yaml", "runs", "tokenizer.json", "train.log",
        "trainer_log.jsonl",
        "training_loss.png",
    } <= left  # fmt: skip
    assert not [name for name in left if name.startswith("checkpoint-") and name != "checkpoint-6"]
    assert not [name for name in left if name.startswith(".") and "lock" not in name.lower()]
    assert (output / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((output / "runs").glob("events.out.tfevents.*"))
    resolved = yaml.safe_load((output / "resolved_config.yaml").read_text())
    assert resolved["learning_rate"] == 5e-3
    assert from_mapping(resolved, "again").resolved() == resolved
    assert outcome.steps == 6
    assert outcome.eval_loss is not None
    assert any("llamafactory-cli chat" in line for line in outcome.lines)


def test_the_loss_falls_and_stays_finite(tiny_model, rows, tmp_path) -> None:
    given = settings(tiny_model, rows, tmp_path / "run", max_steps=60, logging_steps=1, finetuning_type="full")
    train({key: value for key, value in given.items() if not key.startswith("lora_")})
    losses = [line["loss"] for line in log(tmp_path / "run") if "loss" in line]
    assert len(losses) == 60
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_an_output_dir_that_holds_another_run_is_refused_and_left_as_it_was(tiny_model, rows, tmp_path) -> None:
    output = tmp_path / "run"
    train(settings(tiny_model, rows, output, max_steps=3))
    before = digests(output, "adapter_model.safetensors", "trainer_log.jsonl", "resolved_config.yaml")
    with pytest.raises(InputError) as caught:
        train(settings(tiny_model, rows, output, max_steps=3, lora_rank=8))
    assert caught.value.exit_code == 2
    assert digests(output, "adapter_model.safetensors", "trainer_log.jsonl", "resolved_config.yaml") == before
    train(settings(tiny_model, rows, output, max_steps=3, lora_rank=8, overwrite_output_dir=True))
    assert digests(output, "adapter_model.safetensors") != before


def test_the_same_command_again_finds_nothing_left_to_do(tiny_model, rows, tmp_path) -> None:
    given = settings(tiny_model, rows, tmp_path / "run", max_steps=4)
    train(given)
    before = digests(tmp_path / "run", "adapter_model.safetensors")
    outcome = train(given)
    assert "Nothing was left to do" in outcome.lines[0]
    assert digests(tmp_path / "run", "adapter_model.safetensors") == before


@pytest.mark.parametrize("method", ["freeze", "full"])
def test_freeze_and_full_leave_a_model_that_plain_transformers_opens(tiny_model, rows, tmp_path, method) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = settings(tiny_model, rows, tmp_path / "run", max_steps=3, finetuning_type=method, bf16=False)
    train({key: value for key, value in given.items() if not key.startswith("lora_")})
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert AutoTokenizer.from_pretrained(tmp_path / "run").chat_template
    stop = AutoTokenizer.from_pretrained(tmp_path / "run").convert_tokens_to_ids("<|im_end|>")
    said = json.loads((tmp_path / "run" / "generation_config.json").read_text())["eos_token_id"]
    assert stop in (said if isinstance(said, list) else [said])
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    changed = [n for n, value in model.state_dict().items() if not (value == base.state_dict()[n]).all()]
    assert changed
    assert all("layers.1." in name or "layers.0." in name for name in changed) or method == "full"


def test_an_adapter_can_be_trained_further(tiny_model, rows, tmp_path) -> None:
    train(settings(tiny_model, rows, tmp_path / "one", max_steps=3))
    given = settings(tiny_model, rows, tmp_path / "two", max_steps=3, adapter_name_or_path=str(tmp_path / "one"))
    train(given)
    assert digests(tmp_path / "one", "adapter_model.safetensors") != digests(
        tmp_path / "two", "adapter_model.safetensors"
    )
