"""What the program says about its keys: `fields`, `explain`, `starter`, `json_schema`."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from llama_factory.config import Run, explain, fields, json_schema, require, starter
from llama_factory.config.gather import known_names
from llama_factory.config.keys import leaves
from llama_factory.config.vocabulary import ALIASES
from llama_factory.errors import InputError

CHINESE = re.compile(r"[\u4e00-\u9fff]")
METHODS = ("lora", "freeze", "full")


def test_every_key_is_described_in_both_languages():
    assert len(fields()) > 430
    for info in fields().values():
        assert info.en.strip(), info.key
        assert not CHINESE.search(info.en), info.key
        assert CHINESE.search(info.zh), info.key
        assert info.commands, info.key
    built = [info for info in fields().values() if info.status == "built"]
    assert [info.key for info in built] == list(leaves(Run))
    assert all(info.type and info.section for info in built)
    assert fields()["cutoff_len"].spellings == ("cutoff_length", "max_seq_length", "max_seq_len")
    assert (fields()["cutoff_len"].unit, fields()["cutoff_len"].commands) == ("tokens", ("train",))
    assert (fields()["lora_rank"].section, fields()["lora_rank"].default) == ("method.lora", 8)
    assert (fields()["skip_bad_batch"].status, fields()["skip_bad_batch"].default) == ("built", 0)
    assert fields()["dataloader_drop_last"].status == "planned"
    assert fields()["packing"].status == "built"
    assert fields()["ddp_timeout"].status == "without effect"


def test_the_default_of_every_key_is_a_value_of_its_type():
    for key, leaf in leaves(Run).items():
        default = leaf.default
        assert leaf.reader.enter(default) == default or (default is None and leaf.may_be_null), key


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_name_can_be_explained(language):
    for name in known_names():
        text = explain(name, language)
        assert name in text
        assert bool(CHINESE.search(text)) == (language == "zh")
    for alias, key in ALIASES.items():
        assert fields()[key].type in explain(alias, language)


def test_an_explanation_says_what_a_reader_needs():
    text = explain("--learning-rate")
    for part in ("learning_rate", "float > 0, < 1", "5e-05", "train", "training.optimizer", "lr"):
        assert part in text
    assert "dpo" in explain("stage")
    assert "use_lora: false -> finetuning_type: full" in explain("use_lora")
    assert "not built yet" in explain("dataloader_drop_last")
    assert "null, false" in explain("dataloader_drop_last")
    with pytest.raises(InputError) as caught:
        explain("lora_rnak")
    assert (caught.value.id, caught.value.values["nearest"]) == ("config.unknown-key-near", "lora_rank")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("method", METHODS)
def test_a_starter_file_loads_as_it_stands_and_with_every_suggestion_taken(given, method, language):
    text = starter(method, language)
    run = given(text)
    assert run.method.finetuning_type == method
    assert not run.notices
    require(run, "train")
    taken = re.sub(r"^# (\w+: \S+)$", r"\1", text, flags=re.MULTILINE)
    whole = given(taken)
    assert not whole.notices
    assert len(whole.given) >= len(run.given) + 7
    require(whole, "export")
    assert bool(CHINESE.search(text)) == (language == "zh")


@pytest.mark.parametrize("method", METHODS)
def test_a_starter_file_means_the_same_to_any_yaml_reader(given, method):
    plain = yaml.safe_load(starter(method))
    resolved = given(starter(method)).resolved()
    for key, value in plain.items():
        assert resolved[key] == ([value] if isinstance(resolved[key], list) else value)
        assert type(value) is not str or isinstance(resolved[key], (str, list)), key


def test_the_schema_knows_every_name_and_is_json():
    schema = json.loads(json.dumps(json_schema()))
    assert set(schema["properties"]) == set(known_names())
    assert schema["additionalProperties"] is False
    rank = schema["properties"]["lora_rank"]
    assert (rank["anyOf"], rank["default"]) == ([{"type": "integer", "minimum": 1}], 8)
    assert rank["description"] == fields()["lora_rank"].en
    assert {"type": "null"} in schema["properties"]["lora_alpha"]["anyOf"]
    assert schema["properties"]["dataloader_drop_last"]["enum"] == [None, "", [], {}, False]
    assert schema["properties"]["stage"]["anyOf"] == [{"type": "string", "enum": ["sft", "pt"]}]
    assert schema["properties"]["max_steps"]["anyOf"][0]["anyOf"][0] == {"enum": [-1]}
