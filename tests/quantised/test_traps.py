"""The faults of quantised weights that raise no error: each is shown to be there without its guard, and not with it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from some_steps import Trained, logits_of

from llama_factory.config import from_mapping
from llama_factory.errors import LlamaFactoryError
from llama_factory.model import load
from llama_factory.model.quantised import guards, layers
from llama_factory.model.quantised.asked import Asked

Train = Callable[..., Trained]
FOUR = Asked(4, "bitsandbytes")

pytestmark = [pytest.mark.real]


def gradient_after_an_evaluation(model: torch.nn.Module) -> float:
    """Of the embedding, through every layer, in training and once the model was evaluated without gradients."""
    embedded = model.get_input_embeddings()(torch.arange(1000, 1016)[None]).detach().requires_grad_(True)
    model.eval()
    with torch.no_grad():
        model(inputs_embeds=embedded.detach())
    model.train()
    model(inputs_embeds=embedded).logits.float().logsumexp(-1).sum().backward()
    assert embedded.grad is not None
    return float(embedded.grad.norm())


def test_four_bits_of_bitsandbytes_keep_their_gradients_after_an_evaluation(shallow: Path) -> None:
    from bitsandbytes.functional import has_avx512bf16

    guarded = load.load(shallow, dtype="bfloat16", quantise=FOUR)
    assert guards.keep_gradients(guarded) == 42
    kept = gradient_after_an_evaluation(guarded)
    assert kept > 0.01
    packed = (layer.weight.quant_state for layer in layers.quantised(guarded).values())
    assert not any(getattr(state, "packing_format_for_cpu", False) for state in packed)
    if has_avx512bf16():  # else the fault is not there to be shown
        with warnings.catch_warnings():  # torch warns of the product that has no gradient; no library heeds it
            warnings.simplefilter("ignore", UserWarning)
            lost = gradient_after_an_evaluation(load.load(shallow, dtype="bfloat16", quantise=FOUR))
        assert lost < kept / 10, "bitsandbytes keeps its gradients by itself now: guards.keep_gradients can go"


def test_an_export_merges_into_the_base_in_full_precision_and_nothing_is_lost(
    trained: Train, shallow: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from llama_factory.export.flow import export_model

    done = trained(model=shallow, bf16=False, quantization_bit=4, lora_rank=4)
    said: list[str] = []
    keys = {"adapter_name_or_path": str(done.folder), "export_dir": "merged", "quantization_bit": 4}
    export_model(from_mapping({"model_name_or_path": str(shallow), **keys}, "here"), said.append)
    assert any("4 bit (bitsandbytes, nf4)" in line for line in said)

    plain = AutoModelForCausalLM.from_pretrained(shallow, dtype=torch.float32)
    before = logits_of(plain)
    beside = logits_of(PeftModel.from_pretrained(plain, done.folder))
    merged = logits_of(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32))
    assert float((beside - before).abs().max()) > 0.1
    torch.testing.assert_close(merged, beside, rtol=1e-4, atol=1e-3)


def test_merging_into_the_quantised_base_would_lose_the_adapter_and_is_refused(trained: Train, shallow: Path) -> None:
    from llama_factory.export import merge

    done = trained(model=shallow, bf16=False, quantization_bit=2, lora_rank=4)
    adapted = merge.adapted(done.module)
    assert len(adapted) == 42
    with pytest.raises(LlamaFactoryError) as caught:
        merge.merge(done.module, adapted)
    assert caught.value.id == "export.merge-into-quantised"


@pytest.mark.parametrize("keys", [{"quantization_bit": 4}, {"quantization_bit": 3}, {"quantization_bit": 8}])
def test_the_size_that_is_reported_is_what_the_tensors_take(shallow: Path, keys: dict[str, Any]) -> None:
    from llama_factory.config.bits import bytes_per_weight
    from llama_factory.model.quantised.asked import asked_by

    asked = asked_by(from_mapping({"model_name_or_path": "m", **keys}, "here"))
    model = load.load(shallow, dtype="float32", quantise=asked)
    packed = sum(map(layers.weights_of, layers.quantised(model).values()))
    plain = layers.count(model) - packed
    expected = 4 * plain + packed * bytes_per_weight(keys["quantization_bit"])
    assert layers.size(model) == pytest.approx(expected, rel=0.02)


def test_eight_bits_write_no_line_for_every_product(shallow: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load.load(shallow, dtype="float32", quantise=Asked(8, "bitsandbytes"))
    with caplog.at_level(logging.WARNING):
        logits_of(model)
    assert not [record for record in caplog.records if record.name.startswith("bitsandbytes")]


def test_rows_of_eight_bits_do_not_see_each_other_once_no_column_is_spared(shallow: Path) -> None:
    model = load.load(shallow, dtype="float32", quantise=Asked(8, "bitsandbytes"))
    ids_NT = torch.randint(1000, 2000, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), guards.rounding_by_row(model):
        together, alone = model(ids_NT).logits[0], model(ids_NT[:1]).logits[0]
    torch.testing.assert_close(together, alone, rtol=1e-2, atol=0.2)
    states = [layer.state for layer in layers.quantised(model).values()]
    assert {state.threshold for state in states} == {6.0}
    assert guards.rounds_inputs(model)


def test_a_chat_says_that_the_adapter_was_trained_beside_other_bits(trained: Train, shallow: Path) -> None:
    from llama_factory.recipes.answering import answerer_of

    done = trained(model=shallow, bf16=False, quantization_bit=4, lora_rank=4)
    keys = {"model_name_or_path": str(shallow), "adapter_name_or_path": str(done.folder), "infer_dtype": "float32"}
    for more, tells in (({}, True), ({"quantization_bit": 4}, False)):
        said: list[str] = []
        answerer = answerer_of(from_mapping({**keys, **more}, "here"), said.append, "en")
        assert any("was trained beside the base in 4 bit" in line for line in said) is tells
        assert bool(layers.quantised(answerer.engine._model)) is not tells
    assert json.loads((done.folder / "llama_factory.json").read_text())["method"]["quantization_type"] == "nf4"


METHODS: dict[str, dict[str, Any]] = {
    "dora, bitsandbytes": {"quantization_bit": 4, "use_dora": True},
    "dora, hqq": {"quantization_bit": 4, "quantization_method": "hqq", "use_dora": True},
    "rslora": {"quantization_bit": 4, "use_rslora": True},
    "a norm beside": {"quantization_bit": 4, "additional_target": ["norm"]},
}


@pytest.mark.parametrize("name", METHODS)
def test_what_lora_can_do_beside_it_works_on_a_quantised_base_too(trained: Train, shallow: Path, name: str) -> None:
    done = trained(model=shallow, bf16=False, lora_rank=4, max_steps=2, **METHODS[name])
    assert (done.folder / "adapter_model.safetensors").is_file()
    assert layers.quantised(done.module)


@pytest.mark.parametrize(
    ("key", "keys"),
    [("lora_bias", {"lora_bias": "lora_only"}), ("additional_target", {"additional_target": ["gate_proj"]})],
)
def test_what_cannot_be_had_beside_quantised_layers_is_refused(shallow: Path, key: str, keys: dict[str, Any]) -> None:
    from llama_factory.model import adapters
    from llama_factory.model.methods import Start

    model = load.load(shallow, dtype="float32", quantise=FOUR)
    run = from_mapping({"model_name_or_path": "m", "quantization_bit": 4, "lora_target": "q_proj", **keys}, "here")
    with pytest.raises(LlamaFactoryError) as caught:
        adapters.attach(model, run.method, Start("float32", 0))
    assert (caught.value.id, caught.value.values["key"]) == ("model.quantised-beside", key)
