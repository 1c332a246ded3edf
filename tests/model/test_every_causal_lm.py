"""Every causal language model of transformers, proven again: `proven.json` says what is true and leaves nothing out.

About 170 tiny models, each run through its own forward and through the policy, in two processes.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.resources import files

import pytest

from llama_factory.model import proven
from llama_factory.model.layouts import Layout
from llama_factory.testing.sweep import as_entry, prove_all
from llama_factory.testing.tiny import NOT_ALONE, causal_types

AT_LEAST = 120
"""Types on a proven way: fewer would mean that the bench is broken, not that the models are."""


def written() -> dict:
    return json.loads(files("llama_factory.model").joinpath("proven.json").read_text(encoding="utf-8"))


same_versions = pytest.mark.skipif(
    written()["transformers"] != version("transformers"),
    reason=f"proven.json was written with transformers {written()['transformers']}: run scripts/prove_models.py",
)


def test_the_list_names_every_type_of_causal_language_model():
    if written()["transformers"] == version("transformers"):
        assert set(proven.table()) == set(causal_types())
    assert set(NOT_ALONE) <= set(proven.table())


def test_enough_types_are_proven_and_every_other_one_says_why():
    fast = {name for name, proof in proven.table().items() if proof.layouts}
    packed = {name for name, proof in proven.table().items() if Layout.PACKED in proof.layouts}
    assert len(fast) >= AT_LEAST
    assert {
        "llama",
        "qwen2",
        "qwen3",
        "gemma2",
        "gemma3_text",
        "mistral",
        "phi3",
        "gpt_oss",
        "hunyuan_v1_dense",
    } <= packed
    assert all(proof.why for name, proof in proven.table().items() if name not in packed)


@pytest.mark.slow
@same_versions
def test_every_type_is_what_the_list_says():
    makeable = [name for name in causal_types() if name not in NOT_ALONE]
    found = dict(prove_all(makeable, processes=min(4, os.cpu_count() or 1)))
    entries = {name: as_entry(verdict.proof) for name, verdict in found.items()}
    listed = {name: written()["types"][name] for name in makeable}
    different = {
        name: (entries[name], found[name].differences)
        for name in makeable
        if comparable(entries[name]) != comparable(listed[name])
    }
    assert not different, f"run scripts/prove_models.py {' '.join(different)}\n{different}"
    assert sum(bool(entry["layouts"]) for entry in entries.values()) >= AT_LEAST


def comparable(entry: dict) -> dict:
    """Without the words that another library chose."""
    return {name: value for name, value in entry.items() if name != "why"}
