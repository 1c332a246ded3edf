"""What keeps an adapter that began with LoftQ on the quantised base that it belongs on: its note, and who reads it.

No package that quantises is needed for this. What LoftQ computes is in `tests/quantised`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import run_for, trained_adapter, trained_further

from llama_factory import machine
from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError, OurFault
from llama_factory.model import adapters, fingerprint, going_on, load
from llama_factory.model.locate import Folders
from llama_factory.model.methods import Start, loftq
from llama_factory.model.quantised import loading
from llama_factory.model.quantised.asked import Asked, Rounded, require_base, rounded_base
from llama_factory.recipes import answering

FOUR, EIGHT = Asked(4, "bitsandbytes"), Asked(8, "bitsandbytes")


@pytest.fixture
def begun(tiny_model: Path, tmp_path: Path) -> Path:
    """An adapter whose note says that it began with LoftQ on the base in 4 bits."""
    return noted(trained_adapter(tiny_model, tmp_path / "begun"))


def noted(folder: Path, **said: Any) -> Path:
    file = folder / fingerprint.NOTE
    note = json.loads(file.read_text(encoding="utf-8"))
    note["method"] |= {**FOUR.note(), "loftq_init": True, "quantised_from": "bfloat16", **said}
    file.write_text(json.dumps(note), encoding="utf-8")
    return folder


def test_it_is_taken_on_a_base_quantised_as_in_training_alone(begun: Path) -> None:
    assert rounded_base([begun]) == Rounded(begun, FOUR, "bfloat16", {})
    require_base([begun], FOUR)
    for here in (None, EIGHT, replace(FOUR, double=False), replace(FOUR, kind="fp4"), Asked(4, "hqq")):
        with pytest.raises(InputError) as caught:
            require_base([begun], here)
        assert caught.value.id == "model.loftq-other-base"
        assert "`quantization_bit: 4`, `quantization_method: bitsandbytes`" in caught.value.values["keys"]


def test_it_is_opened_on_weights_that_are_rounded_as_far_as_in_training_alone(tiny_model: Path, begun: Path) -> None:
    name = "model.layers.0.self_attn.q_proj"
    noted(begun, quantised_off={name: 0.1})

    def opened(share: float) -> adapters.Attached:
        model = load.load(tiny_model, dtype="float32")
        weight = model.get_submodule(name).weight
        with torch.no_grad():
            weight.mul_(1 + share)
        return adapters.open(model, begun, tiny_model)

    assert opened(0.1001).module is not None
    for share in (0.0, 0.05, 0.11):
        with pytest.raises(InputError) as caught:
            opened(share)
        assert caught.value.id == "model.loftq-rounded-otherwise"
        assert caught.value.values["trained"] == "10"


def test_adapters_that_began_as_nothing_are_taken_anywhere(tiny_model: Path, tmp_path: Path) -> None:
    folder = noted(trained_adapter(tiny_model, tmp_path / "plain"), loftq_init=False)
    assert rounded_base([folder]) is None
    require_base([folder], None)


def test_two_of_them_do_not_add_up(tiny_model: Path, tmp_path: Path, begun: Path) -> None:
    with pytest.raises(InputError) as caught:
        require_base([begun, noted(trained_adapter(tiny_model, tmp_path / "other", 2))], FOUR)
    assert (caught.value.id, caught.value.values["count"]) == ("model.loftq-twice", 2)


@pytest.mark.parametrize("new", [False, True])
def test_train_and_check_refuse_it_on_another_base_before_anything_is_loaded(
    tiny_model: Path, begun: Path, new: bool
) -> None:
    run = run_for(tiny_model, adapter_name_or_path=str(begun), create_new_adapter=new)
    with pytest.raises(InputError) as caught:
        loading.ready(run, Folders(tiny_model, (begun,), None), load.check_folder(tiny_model))
    assert caught.value.id == "model.loftq-other-base"


def test_what_is_trained_further_stays_what_it_was(tiny_model: Path, tmp_path: Path, begun: Path) -> None:
    again = trained_further(begun, tiny_model, tmp_path / "again", quantization_bit=4)
    assert rounded_base([again]) == Rounded(again, FOUR, "float32", {})


@pytest.mark.parametrize(("loftq_init", "wrong"), [(True, False), (False, True)])
def test_a_start_that_was_not_this_adapter_s_is_named(
    tiny_model: Path, begun: Path, loftq_init: bool, wrong: bool
) -> None:
    run = run_for(tiny_model, adapter_name_or_path=str(begun), quantization_bit=4, loftq_init=loftq_init)
    found = going_on.audit(run, Folders(tiny_model, (begun,), None))
    assert bool(found) is wrong
    assert not wrong or "`loftq_init: false` (true)" in found[0].values["keys"]


def test_a_base_without_quantised_layers_and_one_without_files_are_letters(tiny_model: Path) -> None:
    run = run_for(tiny_model, loftq_init=True, quantization_bit=4)
    for folder, id in ((tiny_model, "model.loftq-nothing"), (None, "model.no-base-folder")):
        with pytest.raises(LlamaFactoryError) as caught:
            adapters.attach(load.load(tiny_model, dtype="float32"), run.method, Start("float32", 1, False, folder))
        assert (caught.value.id, isinstance(caught.value, OurFault)) == (id, folder is None)


def test_a_layer_s_weight_is_found_by_the_end_of_its_name_and_must_be_near(tiny_model: Path) -> None:
    from llama_factory.model import weights

    known = weights.entries(tiny_model)
    name = "model.layers.0.self_attn.q_proj"
    weight = dict(weights.read(tiny_model))[f"{name}.weight"].float()
    for spelled in (name, f"language_{name}", f"outer.{name}"):
        assert torch.equal(loftq._original(spelled, known, weight + 0.01 * weight.std()), weight)
    assert torch.equal(loftq._original(name, known, weight.t()), weight.t())
    for spelled in ("model.layers.99.self_attn.q_proj", "model.layers.1.self_attn.q_proj"):
        with pytest.raises(InputError) as caught:
            loftq._original(spelled, known, weight)
        assert caught.value.id == "model.loftq-other-weight"


def test_spellings_of_peft_are_understood() -> None:
    run = from_mapping({"lora_config": {"init_lora_weights": "loftq", "loftq_bits": 4, "loftq_iter": 1}}, "here")
    assert run.method.lora.loftq_init
    assert run.model.quantization.quantization_bit == 4
    pissa = from_mapping({"init_lora_weights": "pissa_niter_4"}, "here").method.lora
    assert (pissa.pissa_init, pissa.pissa_iter) == (True, 4)
    assert from_mapping({"init_lora_weights": "pissa"}, "here").method.lora.pissa_iter == -1
    assert not from_mapping({"init_lora_weights": True}, "here").method.lora.loftq_init
    for other in ("olora", False, "gaussian"):
        with pytest.raises(InputError):
            from_mapping({"init_lora_weights": other}, "here")


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ({"loftq_init": True}, "config.loftq-needs-bits"),
        ({"loftq_iter": 5}, "config.loftq-one-round"),
        ({"loftq_init": True, "quantization_bit": 4, "pissa_init": True}, "config.quantised-pissa"),
        (
            {"loftq_init": True, "quantization_bit": 4, "create_new_adapter": True, "adapter_name_or_path": "a"},
            "config.loftq-on-top",
        ),
    ],
)
def test_what_does_not_go_with_loftq_is_refused_before_anything_is_loaded(given: dict[str, Any], id: str) -> None:
    with pytest.raises(InputError) as caught:
        from_mapping({"model_name_or_path": "m", **given}, "here")
    assert caught.value.id == id


def test_answers_are_computed_in_the_format_that_the_base_was_quantised_from(tiny_model: Path, begun: Path) -> None:
    run = run_for(tiny_model, adapter_name_or_path=str(begun), quantization_bit=4)
    here = machine.pick_precision(True, False, False, device="cpu").compute
    for dtype, expected in (("bfloat16", here), ("float32", "float32")):
        folders = Folders(tiny_model, (noted(begun, quantised_from=dtype),), None)
        assert answering.number_format(run, folders, "cpu") == expected
