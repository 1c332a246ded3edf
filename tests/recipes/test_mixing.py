"""Runs with packs, mixtures and other ways to learn: the loss is that of the rows alone, a resume is exact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recipe_settings import digests, settings

from llama_factory import data, recipes
from llama_factory.config import from_mapping
from llama_factory.errors import InputError
from llama_factory.recipes.sft import TERM, objective
from llama_factory.recipes.wiring import source_of


def train(given: dict) -> recipes.Outcome:
    return recipes.train(from_mapping(given, "test"), say=lambda line: None)


@pytest.fixture
def two(tmp_path: Path) -> str:
    """Two files of different size and length."""
    for name, count, words in (("long", 17, 9), ("short", 6, 2)):
        lines = [{"prompt": f"{name} {i}?", "response": f"So {i}{', and more' * (i % words)}."} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return f"{tmp_path / 'long.jsonl'},{tmp_path / 'short.jsonl'}"


@pytest.mark.parametrize("fused", [True, False])
def test_the_loss_of_packed_rows_is_that_of_each_row_alone(tiny_model, rows, tmp_path, fused) -> None:
    from llama_factory.model import load
    from llama_factory.model.policy import Policy
    from llama_factory.render import load_renderer

    run = from_mapping(
        settings(tiny_model, rows, tmp_path / "run", packing=True, cutoff_len=200, val_size=0, eval_strategy="no"),
        "test",
    )
    prepared = data.prepare(run, load_renderer(tiny_model), cache=tmp_path / "cache", say=lambda line: None)
    module = load.load_for(run, tiny_model, dtype="float32", device="cpu", say=lambda finding: None)
    policy = Policy(module, sharing=fused)
    module.eval()
    step = source_of(run, prepared, TERM).next_step()
    assert step.rows > 3  # three packs, of more rows
    total, alone = 0.0, []
    with torch.no_grad():
        for batch in step.batches:
            together = objective(policy, batch)[TERM]
            each = [objective(policy, one)[TERM] for one in batch.rows_alone()]
            assert together.count == sum(one.count for one in each)
            assert float(together.sum) == pytest.approx(sum(float(one.sum) for one in each), rel=1e-5)
            total += float(together.sum)
            alone += [float(one.sum) for one in each]
    assert len(alone) == step.rows
    assert step.counts[TERM] == sum(float(batch.weight_T.sum()) for batch in step.batches)
    assert total / step.counts[TERM] == pytest.approx(sum(alone) / step.counts[TERM], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {"packing": True, "cutoff_len": 120},
        {"mix_strategy": "interleave_over", "interleave_probs": "0.7,0.3"},
        {"neat_packing": True, "mix_strategy": "interleave_under", "train_on_prompt": True, "data_seed": 9},
        {"mix_strategy": "interleave_once", "mask_history": True, "eval_on_each_dataset": True},
        {"streaming": True, "buffer_size": 8, "mix_strategy": "interleave_over", "packing": True, "val_size": 3},
    ],
    ids=lambda keys: "-".join(keys),
)
def test_a_resumed_run_ends_with_the_bytes_of_the_run_left_alone(tiny_model, two, tmp_path, keys) -> None:
    given = {"max_steps": 18, "save_steps": 5, "per_device_train_batch_size": 2, **keys}
    whole = tmp_path / "whole"
    train(settings(tiny_model, two, whole, **given))
    files = ("adapter_model.safetensors", "checkpoint-18/optimizer.safetensors")
    for step in (5, 10):
        again = tmp_path / f"from-{step}"
        again.mkdir()
        shutil.copytree(whole / f"checkpoint-{step}", again / f"checkpoint-{step}")
        train(settings(tiny_model, two, again, **given, resume_from_checkpoint=True))
        assert digests(again, *files) == digests(whole, *files)


def test_a_stream_is_checked_and_trained_piece_by_piece(tiny_model, two, tmp_path) -> None:
    from llama_factory.recipes.check import check

    keys = {"streaming": True, "buffer_size": 8, "max_steps": 5, "val_size": 2, "eval_steps": 5}
    run = from_mapping(settings(tiny_model, two, tmp_path / "run", **keys), "test")
    report = check(lambda: run, cache=tmp_path / "cache", step=lambda stage: None)
    assert report.exit_code == 0, report.findings
    assert report.summary["train_rows"] == 6
    assert report.summary["total_steps"] == 5
    said: list[str] = []
    outcome = recipes.train(run, say=said.append)
    assert outcome.steps == 5
    assert outcome.eval_loss is not None
    assert any("8 records at a time" in line for line in said)


@pytest.mark.parametrize(
    "keys", [{"packing": True}, {"data_seed": 3}, {"mask_history": True, "train_on_prompt": False}]
)
def test_a_run_with_other_rows_a_step_is_another_run(tiny_model, rows, tmp_path, keys) -> None:
    given = {"max_steps": 2, "save_steps": 1}
    train(settings(tiny_model, rows, tmp_path / "run", **given))
    if "mask_history" in keys:  # one answer a row: nothing is another, and the run simply goes on
        train(settings(tiny_model, rows, tmp_path / "run", **given, **keys))
        return
    with pytest.raises(InputError) as caught:
        train(settings(tiny_model, rows, tmp_path / "run", **given, **keys))
    assert caught.value.id == "trainer.other-run"


def test_the_loss_of_each_data_set_is_told_and_can_choose_the_best(tiny_model, two, tmp_path) -> None:
    keys = {
        "eval_on_each_dataset": True,
        "max_steps": 4,
        "eval_steps": 2,
        "val_size": 8,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_short_loss",
    }
    outcome = train(settings(tiny_model, two, tmp_path / "run", **keys))
    lines = [json.loads(line) for line in (tmp_path / "run" / "trainer_log.jsonl").read_text().splitlines()]
    judged = [line for line in lines if "eval_loss" in line]
    assert len(judged) == 2
    for line in judged:
        each = line["eval_long_loss"], line["eval_short_loss"]
        assert min(each) <= line["eval_loss"] <= max(each)
        assert each[0] != each[1]
    best = json.loads((tmp_path / "run" / "best" / "best.json").read_text())
    assert best["metrics"]["eval_short_loss"] == pytest.approx(min(line["eval_short_loss"] for line in judged))
    assert outcome.eval_loss is not None


def test_learning_the_prompt_too_leaves_out_the_first_token_and_what_follows_the_last_stop(
    tiny_model, rows, tmp_path
) -> None:
    from llama_factory.render import load_renderer

    run = from_mapping(settings(tiny_model, rows, tmp_path / "run", train_on_prompt=True), "test")
    store = data.prepare(run, load_renderer(tiny_model), cache=tmp_path / "cache", say=lambda line: None).train
    np.testing.assert_array_equal(store.supervised, store.lengths - 2)
    assert train(settings(tiny_model, rows, tmp_path / "run", train_on_prompt=True, max_steps=2)).steps == 2
