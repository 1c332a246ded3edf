"""Whether the output of frozen layers is kept is decided by the run, said, and changes nothing that a run leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recipe_settings import digests, settings
from safetensors.torch import load_file

from llama_factory import recipes, storage
from llama_factory.config import from_mapping
from llama_factory.errors import InputError
from llama_factory.model.prefix import RowFile

SAID = "what they make of a row"


def freezing(model: Path, rows: Path, output: Path, **changes) -> dict:
    given = settings(model, rows, output, finetuning_type="freeze", freeze_trainable_layers=1, bf16=True, **changes)
    return {key: value for key, value in given.items() if not key.startswith("lora")}


def train(given: dict) -> list[str]:
    lines: list[str] = []
    recipes.train(from_mapping(given, "test"), say=lines.append)
    return lines


@pytest.fixture
def reads(monkeypatch) -> list[bool]:
    """For each row that was asked for, whether it was in the file."""
    seen: list[bool] = []
    get = RowFile.get

    def asked(self, key):
        found = get(self, key)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(RowFile, "get", asked)
    return seen


def test_a_run_that_is_resumed_ends_with_the_bytes_of_the_run_left_alone(tiny_model, rows, tmp_path, reads) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert any(SAID in line for line in train(freezing(tiny_model, rows, whole, max_steps=15)))
    assert sum(reads) > len(reads) / 2, "later epochs and evaluations read what the first one kept"
    again.mkdir()
    shutil.copytree(whole / "checkpoint-7", again / "checkpoint-7")
    train(freezing(tiny_model, rows, again, max_steps=15, resume_from_checkpoint=True))
    names = "model.safetensors", "checkpoint-15/optimizer.safetensors"
    assert digests(again, *names) == digests(whole, *names)


def test_without_room_the_same_bytes_come_out(tiny_model, rows, tmp_path, reads, monkeypatch) -> None:
    train(freezing(tiny_model, rows, tmp_path / "room", max_steps=15))
    monkeypatch.setattr(storage, "free_bytes", lambda path: 40_000)
    reads.clear()
    said = train(freezing(tiny_model, rows, tmp_path / "none", max_steps=15))
    assert any("for as many rows as go into 20 kB" in line for line in said)
    assert 0 < sum(reads) < len(reads) / 2
    assert digests(tmp_path / "none", "model.safetensors") == digests(tmp_path / "room", "model.safetensors")
    with pytest.raises(InputError) as caught:
        train(freezing(tiny_model, rows, tmp_path / "asked", max_steps=15, cache_frozen_layers=True))
    assert caught.value.id == "model.no-room-to-keep"


@pytest.mark.parametrize(
    "changes", [{"cache_frozen_layers": False}, {"fused_layers": False}, {"max_steps": 5}, {"val_size": 0}]
)
def test_the_keys_decide(tiny_model, rows, tmp_path, reads, changes) -> None:
    usual = {"max_steps": 12, "eval_strategy": "no"}
    said = train(freezing(tiny_model, rows, tmp_path / "run", **(usual | changes)))
    wanted = changes == {"val_size": 0}
    assert any(SAID in line for line in said) is wanted
    assert bool(reads) is wanted


def test_what_is_learned_is_the_same_within_rounding(tiny_model, rows, tmp_path) -> None:
    for name in ("true", "false"):
        given = freezing(tiny_model, rows, tmp_path / name, max_steps=12, cache_frozen_layers=name)
        train(given | {"bf16": False})
    kept, computed = (load_file(tmp_path / name / "model.safetensors") for name in ("true", "false"))
    assert kept.keys() == computed.keys()
    assert all(float((kept[name] - computed[name]).abs().max()) < 1e-5 for name in kept)


def test_adapters_in_the_upper_layers_alone_are_trained_with_kept_rows(tiny_model, rows, tmp_path, reads) -> None:
    top = "model.layers.1.self_attn.q_proj"
    said = train(settings(tiny_model, rows, tmp_path / "run", lora_target=top, max_steps=15))
    assert any(SAID in line for line in said)
    assert any(reads)


def test_a_demand_that_cannot_be_met_is_refused_before_the_first_step(tiny_model, rows, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        train(settings(tiny_model, rows, tmp_path / "run", cache_frozen_layers=True))
    assert caught.value.id == "model.nothing-to-keep"
