"""100,000 strings with control tokens and near spellings, written by users, over eight tokenizers: none comes through.

The quick share runs always, all of them under `-m slow`.
"""

import random
import re
import unicodedata

import numpy as np
import pytest
from hard_texts import hard_text

from llama_factory.errors import LlamaFactoryError
from llama_factory.records import Conversation, Message, Origin
from llama_factory.render import load_renderer
from llama_factory.render.tokenizer import open_tokenizer

PUBLISHED = ("qwen3", "llama2", "llama3", "llama3_1", "deepseek_v3", "gemma3", "gptoss")
EACH = 100_000 // (len(PUBLISHED) + 1) + 1
SHARE = 10

REFUSED = {"llama2": "render.control-in-text"}
"""A tokenizer that writes a blank before every piece cannot cut a row: it refuses such rows."""
SPACED = ("llama2", "gemma3")
"""Blanks and `▁` are one to them, and a blank at the start is dropped by their decoders."""
LOST = {"smollm2": re.compile("[\x04\x06\x13\x14\x16\x1d\U00040000-\U0010ffff]")}
"""Characters of which the vocabulary has no bytes: they are dropped by the tokenizer itself."""


@pytest.mark.real
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_share_of_the_users_control_tokens_stay_letters(real_tokenizer, tmp_path, name) -> None:
    assert prove(name, real_tokenizer(name), tmp_path, EACH // SHARE) > 0


@pytest.mark.real
def test_a_share_of_the_users_control_tokens_stay_letters_in_the_real_model(real_model, tmp_path) -> None:
    assert prove("smollm2", real_model, tmp_path, EACH // SHARE) == EACH // SHARE


@pytest.mark.slow
@pytest.mark.real
def test_of_100_000_strings_no_control_token_of_a_user_comes_through(real_tokenizer, real_model, tmp_path) -> None:
    folders = {name: real_tokenizer(name) for name in PUBLISHED} | {"smollm2": real_model}
    count = 0
    for name, folder in folders.items():
        (tmp_path / name).mkdir()
        prove(name, folder, tmp_path / name, EACH)
        count += EACH
    assert count >= 100_000


def prove(name, folder, place, count):
    """How many strings were rendered; the others were refused, as REFUSED allows."""
    renderer, begin, end = with_plain_template(folder, place)
    control = sorted(renderer.tokenizer.control)
    draw = random.Random(name)
    rendered = 0
    for start in range(0, count, 500):
        asked = min(500, count - start)
        texts = [f"a{hard_text(draw, control, spell=True)}" for _ in range(asked)]
        rows = [
            Conversation((Message("user", text), Message("assistant", "ok")), Origin("control.jsonl", at + 1))
            for at, text in enumerate(texts)
        ]
        for text, row in zip(texts, renderer.render_many(rows), strict=True):
            if isinstance(row, LlamaFactoryError):
                assert row.id == REFUSED.get(name), (row, text)
                continue
            rendered += 1
            ((_, row),) = row
            inside = np.isin(row.ids_T, renderer.tokenizer.control_ids)
            assert row.ids_T[inside].tolist() == [begin, end, begin, end], text
            assert not (inside & (row.message_T >= 0)).any(), text
            back = renderer.decode(row.ids_T.tolist(), skip_control=False)
            assert_decodes_back(name, back, row.text)
    assert rendered == count or name in REFUSED
    return rendered


def assert_decodes_back(name, back, text):
    if name == "qwen3":
        text = unicodedata.normalize("NFC", text)
    if name in LOST:
        back, text = (LOST[name].sub("", one) for one in (back.replace("\ufffd", ""), text.replace("\ufffd", "")))
    if name in SPACED:
        back, text = (one.replace(" ", "").replace("▁", "") for one in (back, text))
    assert back == text


def with_plain_template(folder, place):
    """The published tokenizer with a template of two of its control tokens around every message."""
    (place / "tokenizer.json").symlink_to(folder / "tokenizer.json")
    (place / "tokenizer_config.json").write_text("{}")
    control = sorted(open_tokenizer(folder).control.items(), key=lambda item: item[1])
    (begin, begin_id), (end, end_id) = control[0], control[1]
    (place / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ " + repr(begin) + " + m['role'] + '\\n' + m['content'] + " + repr(end) + " }}"
        "{% endfor %}{% if add_generation_prompt %}{{ " + repr(begin) + " + 'assistant\\n' }}{% endif %}",
        encoding="utf-8",
    )
    return load_renderer(place), begin_id, end_id
