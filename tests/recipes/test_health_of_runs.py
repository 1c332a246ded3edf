"""What happens to the health of a real run stands on its page: a bad batch, too little memory, and a resume between."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from recipe_settings import digests, settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors import DivergedError
from llama_factory.losses import Term
from llama_factory.recipes import sft

BAD_ROW = 4
ROOM = 90
"""Tokens that fit into the memory of these tests."""

objective = sft.objective


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faulty(policy: Any, batch: Any) -> Mapping[str, Term]:
    if policy.module.training and batch.rows.size > 1 and batch.ids_T.size > ROOM:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    term = objective(policy, batch)["sft"]
    return {"sft": Term(term.sum * float("nan"), term.count) if BAD_ROW in batch.rows else term}


def train(model: Path, rows: Path, output: Path, **changes: Any) -> recipes.Outcome:
    given = {
        "report_samples": 0, "max_steps": 12, "plot_loss": False, "per_device_train_batch_size": 6, "save_steps": 100,
        "val_size": 0, "eval_strategy": "no",
    }  # fmt: skip
    return recipes.train(from_mapping(settings(model, rows, output, **given, **changes), "test"), say=said.append)


said: list[str] = []


def cards(output: Path) -> dict[str, str]:
    text = html.unescape((output / "report.html").read_text(encoding="utf-8"))
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", text))


def test_bad_batches_and_smaller_micro_batches_are_told_and_stand_on_the_page_of_a_resumed_run(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "objective", faulty)
    with pytest.raises(DivergedError, match=rf"rows.jsonl:{BAD_ROW + 1}\."):
        train(tiny_model, rows, tmp_path / "run", skip_bad_batch=1)
    assert cards(tmp_path / "run")["Batches skipped"] == "1"
    train(tiny_model, rows, tmp_path / "run", skip_bad_batch=9)
    found = [json.loads(line) for line in (tmp_path / "run" / "health.jsonl").read_text().splitlines()]
    halved = [one["values"]["now"] for one in found if one["id"] == "trainer.micro-batch-halved"]
    assert halved
    numbers = [one["values"]["number"] for one in found if one["id"] == "trainer.batch-skipped"]
    assert numbers == [1, 2, 3][: len(numbers)]
    assert len(numbers) >= 2
    assert cards(tmp_path / "run")["Batches skipped"] == str(len(numbers))
    assert cards(tmp_path / "run")["Micro-batch, at most"] == f"{min(halved)} tokens"
    assert any("micro_batch_tokens" in line for line in said)
    train(tiny_model, rows, tmp_path / "alone", skip_bad_batch=9)
    files = ("adapter_model.safetensors", "checkpoint-12/optimizer.safetensors", "checkpoint-12/rng.safetensors")
    assert digests(tmp_path / "run", *files) == digests(tmp_path / "alone", *files)


def test_a_run_without_trouble_leaves_no_file_about_it(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    train(tiny_model, rows, tmp_path / "run")
    assert not (tmp_path / "run" / "health.jsonl").exists()
    assert "Nothing was noticed" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
