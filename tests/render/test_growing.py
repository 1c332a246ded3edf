"""Tokens given to a tokenizer: one each wherever they occur, never the template's own, the same once saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llama_factory.errors import InputError
from llama_factory.records import Conversation, Message, Origin
from llama_factory.render import load_renderer
from llama_factory.render.growing import Asked
from llama_factory.render.renderer import Renderer

ASKED = Asked(("<a>", "two words"), ("<b>",), {"<c>": "a third one"})
TALK = Conversation(
    (Message("user", "say <a> and <b>"), Message("assistant", "x<a><b><c>two words")), Origin("rows.jsonl", 1)
)


def ids_of(renderer: Renderer) -> list[int]:
    return [int(id) for id in renderer.render(TALK).ids_T]


def test_each_token_is_one_wherever_messages_spell_it(tiny_model: Path) -> None:
    plain, renderer = load_renderer(tiny_model), load_renderer(tiny_model, new=ASKED)
    first = plain.vocabulary_size
    assert renderer.tokenizer.new == {"<a>": first, "two words": first + 1, "<b>": first + 2, "<c>": first + 3}
    ids = ids_of(renderer)
    assert [ids.count(first + number) for number in range(4)] == [2, 1, 2, 1]
    assert renderer.render(TALK).weight_T[-3] == 1.0  # in an answer it is learned
    assert set(plain.tokenizer.control) == set(renderer.tokenizer.control)
    assert renderer.fingerprint != plain.fingerprint
    assert renderer.template_fingerprint != plain.template_fingerprint


def test_a_row_that_spells_a_control_token_keeps_the_new_ones(tiny_model: Path) -> None:
    renderer = load_renderer(tiny_model, new=ASKED)
    hard = Conversation((Message("user", "<|im_end|> <b>"), Message("assistant", "<a>")), Origin("rows.jsonl", 2))
    ids = [int(id) for id in renderer.render(hard).ids_T]
    assert [ids.count(id) for id in (renderer.tokenizer.new["<a>"], renderer.tokenizer.new["<b>"])] == [1, 1]


def test_it_is_the_same_tokenizer_once_it_was_saved_and_in_plain_transformers(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    renderer = load_renderer(tiny_model, new=ASKED)
    for name, content in renderer.files().items():
        (tmp_path / name).write_bytes(content)
    shutil.copyfile(tiny_model / "config.json", tmp_path / "config.json")
    again = load_renderer(tmp_path)
    assert ids_of(again) == ids_of(renderer)
    assert again.template_fingerprint == renderer.template_fingerprint
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("x<a><b><c>two words", add_special_tokens=False).input_ids[1:] == [
        renderer.tokenizer.new[token] for token in ("<a>", "<b>", "<c>", "two words")
    ]
    assert theirs.decode(theirs("<a><b>").input_ids, skip_special_tokens=True) == "<a>"


def test_what_it_has_already_is_said_and_not_added(tiny_model: Path) -> None:
    renderer = load_renderer(tiny_model, new=Asked(("a", "<a>"), ("<|im_end|>",)))
    assert list(renderer.tokenizer.new) == ["<a>"]
    (said,) = (one for one in renderer.notices if one.id == "render.token-known")
    assert said.values["found"] == "'a', '<|im_end|>'"


def test_special_tokens_that_the_named_template_writes_are_its_control_tokens(tiny_hunyuan: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_renderer(tiny_hunyuan, template="chatml")
    assert caught.value.id == "render.markers-missing"
    marks = ("<|im_start|>", "<|im_end|>", "<more>")
    renderer = load_renderer(tiny_hunyuan, template="chatml", new=Asked((), marks))
    assert set(marks[:2]) < set(renderer.tokenizer.control)
    assert renderer.tokenizer.texts == {"<more>"}
    assert renderer.stop_ids[0] == renderer.tokenizer.new["<|im_end|>"]


WRONG = {
    "it holds a control token": ("x<|im_end|>y", "render.token-takes-control"),
    "it runs into one": ("end<|im", "render.token-takes-control"),
    "the template writes it": ("assistant\n", "render.token-in-template"),
    "it reaches from the template into a message": ("user\nWhat", "render.token-in-template"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_token_that_would_change_the_template_is_refused(tiny_model: Path, what: str) -> None:
    token, id = WRONG[what]
    with pytest.raises(InputError) as caught:
        load_renderer(tiny_model, new=Asked((token,)))
    assert caught.value.id == id
    assert repr(token) in str(caught.value.letter("zh"))


def test_a_folder_without_tokenizer_json_is_named(tiny_model: Path, tmp_path: Path) -> None:
    from llama_factory.render import growing
    from llama_factory.render.tokenizer import open_tokenizer

    tokenizer = open_tokenizer(tiny_model)
    shutil.copyfile(tiny_model / "config.json", tmp_path / "config.json")
    from dataclasses import replace

    with pytest.raises(InputError) as caught:
        growing.grown(replace(tokenizer, folder=tmp_path), Asked(("<a>",)), "")
    assert caught.value.id == "render.no-tokenizer-json"


def test_a_configuration_that_lists_added_tokens_lists_the_new_ones_too(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(said | {"added_tokens_decoder": {}}), encoding="utf-8")
    renderer = load_renderer(tmp_path / "model", new=Asked(("<a>",)))
    listed = json.loads(renderer.files()["tokenizer_config.json"])["added_tokens_decoder"]
    assert listed[str(renderer.tokenizer.new["<a>"])]["content"] == "<a>"
