"""rope_scaling: one factor from training to chat to export, whoever opens the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import attach, logits, run_for, shaken
from transformers import AutoModelForCausalLM

from llama_factory.config import Run, from_mapping
from llama_factory.errors import InputError
from llama_factory.export import export_model
from llama_factory.model import adapters, load, save, window
from llama_factory.model.window import for_training, for_use

KINDS = ("linear", "yarn", "llama3")


def own_window(base: Path) -> int:
    return int(json.loads((base / "config.json").read_text("utf-8"))["max_position_embeddings"])


def run_of(base: Path, kind: str | None, times: float = 2.5, **given: Any) -> Run:
    asked = {} if kind is None else {"rope_scaling": kind}
    return run_for(base, cutoff_len=int(times * own_window(base)), **asked, **given)


def trained(base: Path, folder: Path, kind: str, method: str) -> tuple[Any, Path]:
    """The model in memory, and its files."""
    run = run_of(base, kind, finetuning_type=method)
    model = load.load(base, dtype="float32", longer=for_training(run, base, ()))
    attach(model, base, finetuning_type=method)
    masters = shaken(model)
    folder.mkdir(parents=True)
    save.trained_files(model, masters, run, folder, base_folder=base, template_text="t", template_fingerprint="f")
    return model.eval(), folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_factor_is_how_often_the_window_goes_into_the_rows(tiny_model: Path, kind: str) -> None:
    longer = for_training(run_of(tiny_model, kind), tiny_model, ())
    assert longer is not None
    assert longer["rope_parameters"]["factor"] == 3.0
    assert longer["max_position_embeddings"] == 3 * own_window(tiny_model)
    model: Any = load.load(tiny_model, dtype="float32", longer=longer)
    assert model.config.rope_parameters["rope_type"] == kind
    assert not torch.equal(logits(model), logits(load.load(tiny_model, dtype="float32")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_model_says_it_in_its_configuration(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    model, folder = trained(tiny_model, tmp_path / "out", kind, "full")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert torch.equal(logits(theirs), logits(model))
    assert for_use(run_of(folder, None), folder, ()) is None
    assert for_use(run_of(folder, kind), folder, ()) is None
    assert for_training(run_of(folder, kind, times=0.9), folder, ()) is None
    with pytest.raises(InputError) as caught:
        for_training(run_of(folder, kind), folder, ())
    assert caught.value.id == "model.rope-scaled-already"


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_remembers_it_for_chat_for_training_and_for_export(
    tiny_model: Path, tmp_path: Path, kind: str
) -> None:
    model, folder = trained(tiny_model, tmp_path / "out", kind, "lora")
    longer = for_use(run_of(tiny_model, None, times=0.5), tiny_model, (folder,))
    assert longer == for_training(run_of(tiny_model, None, times=0.5), tiny_model, (folder,)) is not None
    again = load.load(tiny_model, dtype="float32", longer=longer)
    assert torch.equal(logits(adapters.open(again, folder, tiny_model).module), logits(model))
    asked = {"model_name_or_path": str(tiny_model), "adapter_name_or_path": str(folder),
             "export_dir": str(tmp_path / "merged"), "allow_template_mismatch": True}  # fmt: skip
    export_model(from_mapping(asked, "a test"), lambda line: None)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-4, atol=1e-4)
    assert theirs.config.rope_parameters["factor"] == 3.0


def test_what_was_trained_without_is_not_opened_with(tiny_model: Path, tmp_path: Path) -> None:
    _, folder = trained(tiny_model, tmp_path / "out", "yarn", "lora")
    for given in ((), (folder,)):
        with pytest.raises(InputError) as caught:
            for_use(run_of(tiny_model, "linear"), tiny_model, given)
        assert caught.value.id == "model.rope-untrained"
    _, other = trained(tiny_model, tmp_path / "other", "linear", "lora")
    with pytest.raises(InputError) as caught:
        for_use(run_of(tiny_model, None), tiny_model, (folder, other))
    assert caught.value.id == "model.windows-differ"


def test_rows_that_fit_and_models_without_such_places_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        for_training(run_of(tiny_model, "yarn", times=1), tiny_model, ())
    assert caught.value.id == "model.rope-fits"
    other = shutil.copytree(tiny_model, tmp_path / "gpt2")
    (other / "config.json").write_text(json.dumps({"model_type": "gpt2", "max_position_embeddings": 64}), "utf-8")
    with pytest.raises(InputError) as caught:
        for_training(run_of(other, "yarn"), other, ())
    assert caught.value.id == "model.no-rope"


def test_nothing_asked_for_changes_nothing(tiny_model: Path) -> None:
    assert for_training(run_of(tiny_model, None), tiny_model, ()) is None
    assert window.of_module(load.load(tiny_model, dtype="float32"), tiny_model) is None
