"""What is known of weights in few bits without the packages that compute with them, and what is said where these
are missing. `tests/quantised` has the packages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llama_factory.config import Run, from_mapping
from llama_factory.config.bits import bytes_per_weight
from llama_factory.errors import InputError, LlamaFactoryError, MachineError, SeveralErrors
from llama_factory.model import load
from llama_factory.model.locate import Folders
from llama_factory.model.quantised import checkpoints, guards, layers, loading
from llama_factory.model.quantised.asked import Asked, asked_by, in_note

GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True, "ignore_layers": ["lm_head", "wg"]}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "modules_to_not_convert": ["lm_head"]}
PART = "model.layers.0.mlp.down_proj"
"""64 inputs, 32 outputs: two groups of 32."""

Change = Callable[[dict[str, Tensor]], Any]


def run_of(**keys: Any) -> Run:
    return from_mapping({"model_name_or_path": "m", **keys}, "here")


def packed(weight_OI: Tensor, method: str) -> dict[str, Tensor]:
    """The tensors that stand for a layer, of the shapes that the libraries write; their numbers mean nothing."""
    outputs, inputs = weight_OI.shape
    shape = (inputs // 8, outputs) if method == "gptq" else (inputs, outputs // 8)
    made = {
        "qweight": torch.zeros(shape, dtype=torch.int32),
        "qzeros": torch.zeros((inputs // 32, outputs // 8), dtype=torch.int32),
        "scales": torch.ones((inputs // 32, outputs), dtype=torch.float16),
    }
    return made | ({"g_idx": torch.arange(inputs, dtype=torch.int32) // 32} if method == "gptq" else {})


@pytest.fixture
def checkpoint(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """The tiny model's folder as such a library would have written it, changed afterwards by `change`."""

    def make(config: dict[str, Any], change: Change = lambda held: None) -> Path:
        folder = shutil.copytree(tiny_model, tmp_path / "quantised")
        held = load_file(folder / "model.safetensors")
        for key in [key for key in held if key.endswith("_proj.weight")]:
            parts = packed(held.pop(key), config["quant_method"])
            held |= {f"{key.removesuffix('.weight')}.{name}": value for name, value in parts.items()}
        change(held)
        save_file(held, folder / "model.safetensors", {"format": "pt"})
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**said, "quantization_config": config}))
        return folder

    return make


def form_of(folder: Path) -> checkpoints.Form:
    form = checkpoints.read(load.check_folder(folder), folder)
    assert form is not None
    return form


@pytest.mark.parametrize("config", [GPTQ, AWQ], ids=["gptq", "awq"])
def test_a_checkpoint_is_read_from_its_headers(checkpoint: Callable[..., Path], config: dict[str, Any]) -> None:
    folder = checkpoint(config)
    form = form_of(folder)
    assert (form.method, form.bits, form.group_size) == (config["quant_method"], 4, 32)
    notes = [(one.id, one.values["found"]) for one in checkpoints.look(form, folder)]
    assert notes == ([("model.quantised-names-nothing", "wg")] if config is GPTQ else [])
    entries = load.weights.entries(folder)
    found = {layer.name: layer for layer in checkpoints.layers_in(entries, form, folder)}
    assert len(found) == 14
    assert (found[PART].inputs, found[PART].outputs, found[PART].groups) == (64, 32, 2)
    plain = {entry.key: entry.shape for entry in checkpoints.as_plain(entries, form, folder)}
    assert plain[f"{PART}.weight"] == (32, 64)
    assert not [key for key in plain if key.endswith(("qweight", "qzeros", "scales", "g_idx"))]


BROKEN: dict[str, tuple[dict[str, Any], Change, str]] = {
    "groups that do not divide": ({**GPTQ, "group_size": 48}, lambda held: None, "group_size 48 does not divide"),
    "groups of another size": ({**GPTQ, "group_size": 16}, lambda held: None, "has 2 groups of 16 for 64 inputs"),
    "no order of columns": (GPTQ, lambda held: held.pop(f"{PART}.g_idx"), "no order of its columns"),
    "no scales": (GPTQ, lambda held: held.pop(f"{PART}.scales"), "has no scales"),
    "other bits": ({**GPTQ, "bits": 8}, lambda held: None, "groups"),
    "bits that nobody has": ({**GPTQ, "bits": 5}, lambda held: None, "gptq with bits = 5"),
    "no groups": ({"quant_method": "gptq", "bits": 4}, lambda held: None, "group_size = None"),
    "left alone and quantised": ({**GPTQ, "ignore_layers": ["down_proj"]}, lambda held: None, "listed as left alone"),
    "outputs that differ": (
        AWQ, lambda held: held.update({f"{PART}.qweight": torch.zeros((64, 3), dtype=torch.int32)}), "weights for 24"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_checkpoint_that_contradicts_its_config_is_refused_before_it_is_loaded(
    checkpoint: Callable[..., Path], name: str
) -> None:
    config, change, words = BROKEN[name]
    folder = checkpoint(config, change)
    with pytest.raises(InputError) as caught:
        load.load(folder, dtype="float32")
    assert caught.value.id == "model.quantised-broken"
    assert words in caught.value.letter()


@pytest.mark.parametrize("config", [GPTQ, AWQ], ids=["gptq", "awq"])
def test_what_is_missing_for_a_checkpoint_is_said_with_the_line_to_type(
    checkpoint: Callable[..., Path], config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_installed", lambda name: False)
    with pytest.raises(MachineError) as caught:
        load.load(checkpoint(config), dtype="float32")
    assert caught.value.id == "model.quantised-checkpoint-package"
    assert "pip install gptqmodel==7.6.0 optimum==2.3.0" in caught.value.letter()


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_a_missing_package_is_said_with_the_line_to_type_before_anything_is_loaded(
    tiny_model: Path, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_installed", lambda name: False)
    asked = asked_by(run_of(quantization_bit=bits))
    assert asked is not None
    with pytest.raises(MachineError) as caught:
        loading.way_of(tiny_model, load.check_folder(tiny_model), asked)
    assert caught.value.values["missing"].startswith("bitsandbytes" if bits in (8, 4) else "hqq")
    assert 'pip install "llama-factory[quant]"' in caught.value.letter()


def test_a_folder_of_a_package_s_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_quantiser").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert loading._missing(["some_quantiser", "torch"]) == "some_quantiser"


def test_keys_about_a_checkpoint_are_compared_with_it_and_refused_for_one_that_is_none(
    checkpoint: Callable[..., Path], tiny_model: Path
) -> None:
    folder = checkpoint(GPTQ)
    form = form_of(folder)
    right = {"bits": 4, "group_size": 32, "desc_act": True, "quant_method": "gptq", "ignore_layers": ["wg", "lm_head"]}
    checkpoints.compare(run_of(quantization_config=right), form, "")
    for key, value in {"bits": 8, "group_size": 128, "desc_act": False, "ignore_layers": ["lm_head"]}.items():
        with pytest.raises(InputError) as caught:
            checkpoints.compare(run_of(quantization_config={**right, key: value}), form, "")
        assert (caught.value.id, caught.value.values["key"]) == ("model.other-quantisation", key)
    with pytest.raises(SeveralErrors):
        checkpoints.compare(run_of(bits=2, group_size=7), form, "")
    with pytest.raises(InputError) as caught:
        loading.ready(run_of(bits=4), Folders(tiny_model, (), None), load.check_folder(tiny_model))
    assert caught.value.id == "model.not-quantised"
    with pytest.raises(InputError) as caught:
        loading.ready(run_of(quantization_bit=4), Folders(folder, (), None), load.check_folder(folder))
    assert caught.value.id == "model.quantised-twice"


@pytest.mark.parametrize("kind", ["full", "freeze", "oft"])
def test_only_lora_learns_beside_a_quantised_checkpoint(
    checkpoint: Callable[..., Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(GPTQ)
    monkeypatch.setattr(loading, "_missing", lambda names: "")
    folders, said = Folders(folder, (), None), load.check_folder(folder)
    assert loading.ready(run_of(), folders, said)[0].id == "model.quantised-names-nothing"
    with pytest.raises(InputError) as caught:
        loading.ready(run_of(finetuning_type=kind, freeze_trainable_layers=1), folders, said)
    assert caught.value.id == "model.quantised-base-learns"


def test_merging_into_quantised_weights_is_refused_twice(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    from llama_factory.export import flow, merge

    run = from_mapping({"model_name_or_path": str(checkpoint(GPTQ)), "export_dir": str(tmp_path / "merged")}, "here")
    with pytest.raises(LlamaFactoryError) as caught:
        flow.export_model(run, lambda line: None)
    assert caught.value.id == "export.quantised-base"
    assert not (tmp_path / "merged").exists()

    class Linear4bit(nn.Linear):
        """Stands for bitsandbytes' layer, which is known by package and name."""

    class Adapted:
        def get_base_layer(self) -> nn.Module:
            return Linear4bit(2, 2)

    merge.guards.refuse_merge({"plain": nn.Linear(2, 2)})
    Linear4bit.__module__ = "bitsandbytes.nn.modules"
    with pytest.raises(LlamaFactoryError) as caught:
        merge.merge(nn.Module(), {"layer": Adapted()})
    assert caught.value.id == "export.merge-into-quantised"


def test_layers_are_known_by_package_and_class_and_counted_as_what_they_stand_for() -> None:
    class Linear4bit(nn.Linear):
        """As peft names its adapter around the layer of the same name."""

    assert not layers.is_quantised(Linear4bit(2, 2))
    Linear4bit.__module__ = "bitsandbytes.nn.modules"
    model = nn.Sequential(nn.Linear(8, 4, bias=False), Linear4bit(16, 8))
    model[1].weight = nn.Parameter(torch.zeros(64, 1))
    assert layers.quantised(model).keys() == {"1"}
    assert layers.count(model) == 8 * 4 + 16 * 8 + 8
    assert layers.size(model) == 4 * (8 * 4 + 64 + 8)
    assert guards.keep_gradients(model) == 0


@pytest.mark.parametrize(
    ("bits", "method", "bytes_each"),
    [(32, "", 4), (16, "", 2), (8, "", 1), (4, "", 0.5 + 1 / 64 + 4 / 16384), (8, "hqq", 1 + 8 / 64), (2, "", 0.375)],
)
def test_bytes_a_weight_by_bits(bits: int, method: str, bytes_each: float) -> None:
    assert bytes_per_weight(bits, method) == pytest.approx(bytes_each)


def test_bits_that_a_method_does_not_have_are_an_error() -> None:
    with pytest.raises(ValueError, match="bitsandbytes has no 3 bits"):
        bytes_per_weight(3, "bitsandbytes")


def test_what_is_asked_survives_the_note_beside_the_weights() -> None:
    for asked in (Asked(4, "bitsandbytes", "fp4", False), Asked(8, "bitsandbytes"), Asked(3, "hqq")):
        again = in_note(json.loads(json.dumps(asked.note())))
        assert again == asked
    assert in_note({"lora_rank": 8}) is None
    assert asked_by(run_of()) is None
