"""Whole runs by the methods, losses and kinds of noise beside LoRA: tried ahead, resumed to the bit, opened again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from recipe_settings import digests, settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.generation import Sampling
from llama_factory.recipes import trial
from llama_factory.recipes.answering import answerer_of
from llama_factory.recipes.check import check

METHODS: dict[str, dict[str, Any]] = {
    "oft": {"finetuning_type": "oft", "oft_block_size": 8, "module_dropout": 0.2, "neftune_noise_alpha": 5},
    "p_tuning": {"finetuning_type": "p_tuning", "num_virtual_tokens": 3, "use_eaft_loss": True},
    "prompt_tuning": {"finetuning_type": "prompt_tuning", "prompt_init_text": "Be short.",
                      "gradient_checkpointing": True},
    "prefix_tuning": {"finetuning_type": "prefix_tuning", "num_virtual_tokens": 3, "prefix_projection": True,
                      "use_asft_loss": True},
    "new blocks": {"finetuning_type": "freeze", "use_llama_pro": True, "llama_pro_blocks": 1, "model_dropout": 0.1},
    "anchored": {"finetuning_type": "full", "use_asft_loss": True, "rope_scaling": "linear", "cutoff_len": 5000},
    "noisy": {"finetuning_type": "lora", "lora_rank": 4, "neftune_noise_alpha": 5, "label_smoothing_factor": 0.1},
}  # fmt: skip
EVERY = pytest.mark.parametrize("keys", METHODS.values(), ids=METHODS)


def given(tiny_model: Path, rows: Path, output: Path, keys: dict[str, Any]) -> dict[str, Any]:
    small = {"max_steps": 6, "save_steps": 3, "report_samples": 1, "bf16": False, "cache_frozen_layers": "false"}
    usual = settings(tiny_model, rows, output, **small)
    return {key: value for key, value in usual.items() if not key.startswith("lora_")} | keys


@EVERY
def test_a_resumed_run_ends_with_the_bytes_of_the_run_left_alone(tiny_model, rows, tmp_path, keys) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    recipes.train(from_mapping(given(tiny_model, rows, whole, keys), "test"), say=lambda line: None)
    again.mkdir()
    shutil.copytree(whole / "checkpoint-3", again / "checkpoint-3")
    resumed = given(tiny_model, rows, again, keys) | {"resume_from_checkpoint": True}
    recipes.train(from_mapping(resumed, "test"), say=lambda line: None)
    weights = "model.safetensors" if keys["finetuning_type"] in ("full", "freeze") else "adapter_model.safetensors"
    files = (weights, "checkpoint-6/optimizer.safetensors", "checkpoint-6/rng.safetensors")
    assert digests(again, *files) == digests(whole, *files)
    page = (whole / "report.html").read_text("utf-8")
    assert "Answers before and after" in page
    assert ("llamafactory-cli export " in page) == (keys["finetuning_type"] in ("lora", "oft")), "what can be merged"
    asked = {"model_name_or_path": str(whole)}
    if weights.startswith("adapter"):
        asked = {"model_name_or_path": str(tiny_model), "adapter_name_or_path": str(whole)}
    answerer = answerer_of(from_mapping(asked, "test"), lambda line: None, "en")
    assert isinstance(answerer.answer(answerer.prompt_ids("Question?"), Sampling(max_new_tokens=4)), str)


@EVERY
def test_one_step_is_tried_and_what_it_saves_opens_again(tiny_model, rows, tmp_path, keys) -> None:
    run = given(tiny_model, rows, tmp_path / "out", keys)
    report = check(lambda: from_mapping(run, "test"), cache=tmp_path / "cache", step=lambda stage: None)
    assert [one.id for one in report.findings if one.severity == "error"] == [], report.findings
    assert report.trial is not None
    assert report.trial.difference <= trial.SAME
    assert report.trial.grad_norm > 0
