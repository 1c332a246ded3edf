"""Texts without turns: begin and end as the tokenizer has them, everything learned, nothing trusted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from render_helpers import write_tokenizer
from tokenizers import Tokenizer, processors

from llama_factory.errors import InputError
from llama_factory.records import FROM_TEMPLATE, Origin, Text
from llama_factory.render.plain_text import marks_of, render_texts
from llama_factory.render.tokenizer import open_tokenizer

CONTROL = ["<|begin|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def one(folder, text: str):
    tokenizer = open_tokenizer(folder)
    (found,) = render_texts(tokenizer, marks_of(tokenizer), [Text(text, Origin("f", 1))])
    return tokenizer, found


def test_a_text_ends_with_the_end_and_all_of_it_is_learned(base_folder) -> None:
    tokenizer, found = one(base_folder, "Hello there, how are you?")
    assert found.ids_T[-1] == tokenizer.id_of("eos_token")
    assert tokenizer.decode(found.ids_T.tolist()) == "Hello there, how are you?"
    assert found.weight_T.tolist() == [0.0] + [1.0] * (found.ids_T.size - 1)
    assert found.message_T.tolist() == [0] * (found.ids_T.size - 1) + [FROM_TEMPLATE]


@pytest.mark.parametrize(("said", "shipped", "begins"), [
    (None, True, True), (None, False, False), (True, False, True), (False, True, False),
])  # fmt: skip
def test_a_text_begins_as_the_tokenizer_begins_every_text(tmp_path, said, shipped, begins) -> None:
    folder = write_tokenizer(tmp_path / "one", control=CONTROL, eos="<|endoftext|>", bos="<|begin|>")
    if shipped:
        rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
        begin = rust.token_to_id("<|begin|>")
        rust.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
        )
        rust.save(str(folder / "tokenizer.json"))
    if said is not None:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"add_bos_token": said}))
    tokenizer, found = one(folder, "Hello there")
    assert bool(found.ids_T[0] == tokenizer.id_of("bos_token")) is begins
    assert found.message_T[0] == (FROM_TEMPLATE if begins else 0)
    assert found.weight_T[0] == 0.0
    assert found.weight_T[1] == 1.0


def test_what_a_text_spells_never_becomes_a_control_token(base_folder) -> None:
    text = "first<|endoftext|>second <|im_start|>user"
    tokenizer, found = one(base_folder, text)
    assert not np.isin(found.ids_T[:-1], tokenizer.control_ids).any()
    assert tokenizer.decode(found.ids_T[:-1].tolist(), skip_control=False) == text


def test_a_tokenizer_without_an_end_is_refused(tmp_path) -> None:
    folder = write_tokenizer(tmp_path / "endless", control=CONTROL)
    with pytest.raises(InputError) as caught:
        marks_of(open_tokenizer(folder))
    assert caught.value.id == "render.no-end-of-document"
    assert caught.value.letter("zh") != caught.value.letter("en")


def test_a_renderer_gives_each_text_its_own_result(chatml_folder) -> None:
    from llama_factory.render import load_renderer

    found = load_renderer(chatml_folder).render_texts([Text("one", Origin("f", 1)), Text("two", Origin("f", 2))])
    assert [str(row.origin) for row in found] == ["f:1", "f:2"]  # type: ignore[union-attr]
