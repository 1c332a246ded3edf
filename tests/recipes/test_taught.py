"""An adapter is used with the template that it was trained with, whichever command opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_settings import settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors import InputError
from llama_factory.export import export_model
from llama_factory.recipes.answering import answerer_of


def quiet(text: str) -> None:
    """Says nothing."""


ANOTHER = "You answer in one word."


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    rows = folder / "rows.jsonl"
    rows.write_text('{"prompt": "Who?", "response": "Me."}\n' * 8, encoding="utf-8")
    recipes.train(from_mapping(settings(tiny_model, rows, folder / "out", max_steps=2), "test"), say=quiet)
    return folder / "out"


def given(tiny_model: Path, adapter: Path, **changes):
    return {"model_name_or_path": str(tiny_model), "adapter_name_or_path": str(adapter), **changes}


def chat(values, tmp_path):
    return answerer_of(from_mapping(values, "chat"), quiet, "en")


def export(values, tmp_path):
    return export_model(from_mapping({**values, "export_dir": str(tmp_path / "merged")}, "export"), quiet)


def train(values, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Who?", "response": "Me."}\n' * 8, encoding="utf-8")
    run = {**settings(values["model_name_or_path"], rows, tmp_path / "two", max_steps=1), **values}
    return recipes.train(from_mapping(run, "test"), say=quiet)


@pytest.mark.parametrize("command", [chat, export, train])
def test_another_template_than_the_one_trained_with_is_refused(command, tiny_model, adapter, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        command(given(tiny_model, adapter, default_system=ANOTHER), tmp_path)
    assert caught.value.id == "model.other-template"
    assert caught.value.values["part"] == "template"


def test_the_template_beside_the_adapter_is_taken_without_a_word(tiny_model, adapter, tmp_path) -> None:
    said: list[str] = []
    answerer_of(from_mapping(given(tiny_model, adapter), "chat"), said.append, "en")
    assert not [line for line in said if "another" in line]


def test_another_template_is_used_where_that_is_allowed_and_said(tiny_model, adapter, tmp_path) -> None:
    said: list[str] = []
    values = given(tiny_model, adapter, default_system=ANOTHER, allow_template_mismatch=True)
    answerer_of(from_mapping(values, "chat"), said.append, "en")
    assert [line for line in said if "another template" in line]
