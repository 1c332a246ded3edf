"""Pre-training a tiny model: by its command, checked before, resumed to the bit, measured by perplexity."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from recipe_settings import digests, settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.recipes.check import check


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    lines = [{"text": f"Chapter {at}. " + "The river slows down and drops its stones. " * (at % 6)} for at in range(30)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def given(model: Path, texts: Path, output: Path, **changes) -> dict:
    usual = {"stage": "pt", "cutoff_len": 48, "max_steps": 12, "eval_steps": 6, "save_steps": 4}
    return settings(model, texts, output, **usual | changes)


def test_the_command_trains_and_tells_the_perplexity(tiny_model, texts, tmp_path, capsys, monkeypatch) -> None:
    from llama_factory.apps.cli import main

    monkeypatch.chdir(tmp_path)
    words = [f"{key}={value}" for key, value in given(tiny_model, texts, tmp_path / "run").items()]
    assert main(["train", *words]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "trainer_log.jsonl").read_text().splitlines()]
    judged = [line for line in lines if "eval_loss" in line]
    assert len(judged) == 2
    assert all(line["eval_perplexity"] == pytest.approx(math.exp(line["eval_loss"]), rel=1e-3) for line in judged)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < losses[0]
    said = capsys.readouterr().out
    assert "a step counts packs" in said
    assert "eval_perplexity" in said


def test_check_sees_texts_as_they_are_learned(tiny_model, texts, tmp_path) -> None:
    run = from_mapping(given(tiny_model, texts, tmp_path / "run"), "test")
    report = check(lambda: run, cache=tmp_path / "cache", step=lambda stage: None)
    assert report.exit_code == 0
    assert report.trial is not None
    assert report.summary["packs"] > 0
    assert report.summary["trained_share"] > 0.9
    assert not [one.id for one in report.findings if one.id.startswith("render.") or "trained" in one.id]
    trained = [piece.text for sample in report.samples for piece in sample.pieces if piece.weight]
    assert any("Chapter" in text or "river" in text for text in trained)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_bytes_of_the_run_left_alone(tiny_model, texts, tmp_path) -> None:
    whole = tmp_path / "whole"
    recipes.train(from_mapping(given(tiny_model, texts, whole), "test"), say=lambda line: None)
    for step in (4, 8):
        again = tmp_path / f"from-{step}"
        again.mkdir()
        shutil.copytree(whole / f"checkpoint-{step}", again / f"checkpoint-{step}")
        keys = given(tiny_model, texts, again, resume_from_checkpoint=True)
        recipes.train(from_mapping(keys, "test"), say=lambda line: None)
        files = ("adapter_model.safetensors", "checkpoint-12/optimizer.safetensors")
        assert digests(again, *files) == digests(whole, *files)


def test_all_weights_learn_texts_too(tiny_model, texts, tmp_path) -> None:
    keys = given(tiny_model, texts, tmp_path / "run", finetuning_type="full", max_steps=3)
    keys = {key: value for key, value in keys.items() if not key.startswith("lora_")}
    outcome = recipes.train(from_mapping(keys, "test"), say=lambda line: None)
    assert outcome.steps == 3
    assert (tmp_path / "run" / "model.safetensors").is_file()
