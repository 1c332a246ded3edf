"""The size of a model, read from its configuration: to the number what transformers builds, and never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from plan_cases import SMALL

from llama_factory.errors import InputError
from llama_factory.planner.known import KNOWN, find
from llama_factory.planner.shape import FAMILIES, read_shape
from llama_factory.records import ModelShape
from llama_factory.testing.tiny import tiny_config


def built(config: Any) -> Any:
    """The model that transformers makes of this configuration, without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_every_known_type_has_as_many_weights_as_transformers_gives_it(kind: str) -> None:
    config = tiny_config(kind)
    shape, model = read_shape(config.to_dict()), built(config)
    assert shape.parameters == model.num_parameters() > 10_000
    linear = [
        module.weight.shape
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D") and "lm_head" not in name
    ]
    counted = [
        sorted((one.inputs, one.outputs)) for layer in shape.layers for one in layer.linears if one.adapts
        for _ in range(layer.count)
    ]  # fmt: skip
    assert sorted(counted) == sorted(sorted(two) for two in linear)


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-7b", "qwen3-30b-a3b", "gemma-2-9b", "phi-2", "gpt-oss-20b"])
def test_a_configuration_that_leaves_out_defaults_counts_the_same(name: str) -> None:
    from transformers import CONFIG_MAPPING

    said = dict(KNOWN[name].config)
    if said["model_type"] == "gpt_oss":
        said["num_local_experts"] = said.pop("num_experts")
    kind = said.pop("model_type")
    if kind in ("qwen2", "mistral"):
        said["layer_types"] = ["full_attention"] * said["num_hidden_layers"]
    assert built(CONFIG_MAPPING[kind](**said)).num_parameters() == read_shape(KNOWN[name].config).parameters


def test_the_shipped_shapes_have_as_many_weights_as_their_makers_say() -> None:
    for name, known in KNOWN.items():
        assert read_shape(known.config).parameters / 1e9 == pytest.approx(known.billions, rel=0.02), name
    assert len(KNOWN) >= 35


@pytest.mark.parametrize(
    ("asked", "hub"),
    [
        ("Qwen2.5-7B", "Qwen/Qwen2.5-7B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"),
        ("meta-llama/Llama-2-13b-chat-hf", "meta-llama/Llama-2-13b-hf"),
        ("google/gemma-2-9b-it", "google/gemma-2-9b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-v0.3"),
    ],
)
def test_names_are_found_as_people_write_them(asked: str, hub: str) -> None:
    found = find(asked)
    assert found is not None
    assert found.hub == hub


def test_a_name_of_another_model_is_not_found() -> None:
    assert find("Qwen2.5-7B-VL") is None
    assert find("my-model") is None


def test_by_hand(small: ModelShape) -> None:
    layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 20 + 2 * 8
    assert small.parameters == 3 * layer + 50 * 8 + 8
    assert (small.depth, small.key_width, small.head) == (3, 2, 400)
    assert small.active == 3 * (layer - 16)


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(InputError) as unknown:
        read_shape({**SMALL, "model_type": "lama"})
    assert unknown.value.id == "planner.type-unknown"
    assert "llama" in unknown.value.letter()
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        with pytest.raises(InputError) as missing:
            read_shape({name: value for name, value in SMALL.items() if name != key})
        assert missing.value.values["key"] == key
    experts = {**SMALL, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2}
    assert read_shape({**experts, "mlp_only_layers": [1], "decoder_sparse_step": 1}).depth == 3
    for said, key, value in (
        (SMALL, "intermediate_size", "20"),
        (SMALL, "num_attention_heads", 0),
        (SMALL, "vocab_size", -1),
        (experts, "mlp_only_layers", 1),
        (experts, "decoder_sparse_step", 0),
    ):
        with pytest.raises(InputError) as wrong:
            read_shape({**said, key: value})
        assert (wrong.value.id, wrong.value.values["key"]) == ("planner.size-unknown", key)


def test_a_model_that_also_sees_is_read_by_its_text_part() -> None:
    assert read_shape({"model_type": "vision", "text_config": dict(SMALL)}) == read_shape(SMALL)
