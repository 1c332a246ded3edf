"""Every example can be loaded as it stands, and does its work for two steps once it has a model to do it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_factory import config

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
TRAINED = [path for path in EXAMPLES if "output_dir:" in path.read_text(encoding="utf-8")]
UNSHAPED = [
    f"{key}=null"
    for key in (
        "model_type",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
    )
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    from llama_factory.apps.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    return lambda *words: main([str(word) for word in words])


def test_the_examples_are_those_of_the_tutorials_and_one_for_each_method() -> None:
    assert [name_of(path) for path in EXAMPLES] == [
        "hunyuan/hunyuan_full.yaml",
        "inference/qwen2_lora_sft.yaml",
        "merge_lora/qwen2_lora_sft.yaml",
        "quickstart.yaml",
        "train_freeze/qwen2_freeze_sft.yaml",
        "train_full/qwen2_full_sft.yaml",
        "train_lora/qwen2_lora_pretrain.yaml",
        "train_lora/qwen2_lora_sft.yaml",
    ]
    assert len(TRAINED) == 6


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_is_a_configuration(path: Path) -> None:
    run = config.load(path)
    assert run.model.model_name_or_path
    assert not [notice for notice in run.notices if notice.severity == "error"]


def test_every_data_set_that_is_shipped_is_registered_and_every_registered_one_is_shipped() -> None:
    registry = json.loads((ROOT / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    shipped = {path.name for path in (ROOT / "data").iterdir()} - {"dataset_info.json", "README.md"}
    assert len(registry) == 28
    assert {entry["file_name"] for entry in registry.values()} <= shipped
    packed = (ROOT / "setup.py").read_text(encoding="utf-8"), (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    for entry in registry.values():
        assert all(entry["file_name"] in text for text in packed)
    assert not [
        name for name in registry if f"`{name}`" not in (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    ]


def test_identity_is_filled_in() -> None:
    text = (ROOT / "data" / "identity.json").read_text(encoding="utf-8")
    assert "{{" not in text
    assert len(json.loads(text)) == 90
    assert text.count("Lumo") > 50


@pytest.mark.slow
@pytest.mark.parametrize("path", TRAINED, ids=name_of)
def test_an_example_trains_two_steps_on_a_tiny_model(
    path: Path, command: Callable[..., int], tiny_model: Path, tiny_hunyuan: Path, tmp_path: Path
) -> None:
    is_hunyuan = path.parent.name == "hunyuan"
    words = [f"model_name_or_path={tiny_hunyuan if is_hunyuan else tiny_model}", "output_dir=out", "max_steps=2"]
    words += UNSHAPED if is_hunyuan else [] if "stage: pt" in path.read_text() else ["dataset=identity"]
    assert command("train", path, *words) == 0
    (log,) = (tmp_path / "out").glob("trainer_log.jsonl")
    assert '"current_steps": 2' in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history_en", "history_zh", "messages_en", "messages_zh", "prompt_response_en"])
def test_a_shipped_data_set_is_read_by_its_name_without_a_bad_row(
    name: str, command: Callable[..., int], tiny_model: Path, tmp_path: Path
) -> None:
    words = [f"model_name_or_path={tiny_model}", f"dataset={name}", "output_dir=out", "max_steps=1"]
    assert command("train", "stage=sft", *words) == 0


@pytest.mark.slow
@pytest.mark.real
def test_the_quickstart_trains_two_steps_on_the_real_model(
    command: Callable[..., int], real_model: Path, tmp_path: Path
) -> None:
    words = [f"model_name_or_path={real_model}", "output_dir=out", "max_steps=2", "logging_steps=1"]
    assert command("train", ROOT / "examples" / "quickstart.yaml", *words) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "out" / "trainer_log.jsonl").read_text().splitlines()]
    assert len(losses) == 2
    assert all(1.0 < loss < 8.0 for loss in losses)
