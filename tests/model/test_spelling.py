"""What config.json says of the places of tokens is said in both spellings, and means the same to who reads either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_factory.model import spelling

YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 128}
PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"rope_type": "default", "rope_theta": 5e5}, {"rope_theta": 5e5}),
    "longer": ({**YARN, "rope_theta": 5e5}, {"rope_theta": 5e5, "rope_scaling": YARN}),
    "a part of a head": (
        {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5},
        {"rope_theta": 5e5, "partial_rotary_factor": 0.5},
    ),
}


def written(tmp_path: Path, **said: Any) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "llama", **said}), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", PLACES)
def test_the_older_spelling_is_added_and_transformers_reads_what_it_read(tmp_path: Path, name: str) -> None:
    from transformers import AutoConfig

    parameters, added = PLACES[name]
    file = written(tmp_path, rope_parameters=parameters)
    before = AutoConfig.from_pretrained(tmp_path)
    spelling.for_other_readers(file)
    said = json.loads(file.read_text(encoding="utf-8"))
    assert said == {"model_type": "llama", "rope_parameters": parameters, **added}
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == before.rope_parameters
    assert before.rope_parameters["rope_theta"] == 5e5


@pytest.mark.parametrize(
    "said",
    [
        {"rope_theta": 5e5},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 5e5},
        {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}},
        {"n_positions": 1024},
    ],
)
def test_a_file_that_is_spelled_so_already_or_has_no_such_spelling_is_not_touched(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    file = written(tmp_path, **said)
    before = file.read_bytes()
    spelling.for_other_readers(file)
    assert file.read_bytes() == before


def test_a_model_with_a_text_part_has_it_there(tmp_path: Path) -> None:
    file = written(tmp_path, text_config={"rope_parameters": {"rope_theta": 5e5}})
    spelling.for_other_readers(file)
    assert json.loads(file.read_text(encoding="utf-8"))["text_config"]["rope_theta"] == 5e5
