"""Encoding by fastokens: the same ids and places, watched, off at the first difference, and never for a few rows."""

import random

import numpy as np
import pytest
from hard_texts import hard_text
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import pre_tokenizers

from llama_factory.errors import StartAgain
from llama_factory.render import fast_encoding, load_renderer
from llama_factory.render.fast_encoding import PROBES, WATCHED_SHARE, FastEncoding
from llama_factory.render.provenance import Traced
from llama_factory.render.tokenizer import open_tokenizer

MUCH = 10**12
PUBLISHED = ("qwen3", "llama3", "llama3_1", "deepseek_v3", "gptoss", "llama2", "gemma3")
WITHOUT_WIDTHS = ("llama2", "gemma3")
"""Tokenizers that are not byte-level: their places come from `tokenizers`."""


def texts_for(tokenizer, count, seed=0):
    draw = random.Random(seed)
    control = sorted(tokenizer.control)
    return [*PROBES, *(hard_text(draw, control, spell=bool(control) and at % 3 == 0) for at in range(count))]


def assert_same_as_tokenizers(tokenizer, texts):
    found = tokenizer.encode([Traced(text) for text in texts])
    for text, one, expected in zip(texts, found, tokenizer._with_offsets(texts), strict=True):
        for name, ours, theirs in zip(one._fields, one, expected, strict=True):
            assert ours.tolist() == theirs.tolist(), (name, text)


def ready(folder):
    tokenizer = open_tokenizer(folder)
    tokenizer.fast.announce(MUCH)
    tokenizer.fast.wait()
    return tokenizer


def digits_apart(folder, tmp_path):
    """The tokenizer again, with digits one by one before words, as SmolLM's family cuts."""
    rust = RustTokenizer.from_file(str(folder / "tokenizer.json"))
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    rust.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("kind", ["plain", "digits"])
def test_ids_and_places_are_those_of_tokenizers(chatml_folder, tmp_path, kind) -> None:
    folder = digits_apart(chatml_folder, tmp_path) if kind == "digits" else chatml_folder
    tokenizer = ready(folder)
    assert tokenizer.fast.ready
    assert ("Split" in fast_encoding._with_one_pattern(tokenizer.rust, tokenizer.rust.to_str())) == (kind == "digits")
    assert_same_as_tokenizers(tokenizer, texts_for(tokenizer, 3000))


def test_places_follow_from_widths_without_the_fast_library_too(chatml_folder) -> None:
    tokenizer = open_tokenizer(chatml_folder, fast=False)
    assert "fastokens" not in tokenizer.encoder
    assert tokenizer._widths is not None
    assert_same_as_tokenizers(tokenizer, texts_for(tokenizer, 1000))


@pytest.mark.real
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tokenizers_give_the_same_ids_and_places(real_tokenizer, name) -> None:
    tokenizer = ready(real_tokenizer(name))
    assert tokenizer.fast.ready
    assert (tokenizer._widths is None) == (name in WITHOUT_WIDTHS)
    texts = texts_for(tokenizer, 3000, seed=1)
    assert_same_as_tokenizers(tokenizer, texts)
    ids_T, offsets_R = tokenizer.fast.encode(texts)
    for row, ids in enumerate(tokenizer.fast._plainly(texts)):
        assert ids_T[offsets_R[row] : offsets_R[row + 1]].tolist() == ids.tolist()


@pytest.mark.real
def test_the_real_models_tokenizer_gives_the_same_ids_and_places(real_model) -> None:
    tokenizer = ready(real_model)
    assert tokenizer.fast.ready
    assert_same_as_tokenizers(tokenizer, texts_for(tokenizer, 3000, seed=2))


class Lying:
    """Encodes as the library does, but for texts with a certain word."""

    def __init__(self, native, word) -> None:
        self.native, self.word, self.asked = native, word, 0

    def encode_batch_flat(self, texts, add_special_tokens):
        self.asked += 1
        return self.native.encode_batch_flat([text.replace(self.word, "?") for text in texts], add_special_tokens)


def lying(folder, word):
    tokenizer = ready(folder)
    tokenizer.fast._native = Lying(tokenizer.fast._native, word)
    return tokenizer


def test_the_first_difference_ends_its_use_and_asks_to_start_again(chatml_folder) -> None:
    tokenizer = lying(chatml_folder, "wrong")
    texts = [Traced(f"row {at}") for at in range(WATCHED_SHARE)]
    tokenizer.encode(texts)
    texts[0] = Traced("wrong row")
    with pytest.raises(StartAgain) as caught:
        tokenizer.encode(texts)
    assert caught.value.id == "render.fast-encoding-differs"
    assert "wrong row" in caught.value.values["text"]
    assert not tokenizer.fast.ready
    assert_same_as_tokenizers(tokenizer, ["wrong row"])


def test_one_row_in_32_is_watched_across_chunks_and_every_row_beyond_the_basic_plane(chatml_folder) -> None:
    tokenizer = ready(chatml_folder)
    asked = []
    plainly = tokenizer.fast._plainly
    tokenizer.fast._plainly = lambda texts: asked.extend(texts) or plainly(texts)
    rows = [f"row {at}" for at in range(200)]
    rows[70] = "row 70 👍"
    for at in range(0, 200, 25):
        tokenizer.fast.encode(rows[at : at + 25])
    assert [row for row in rows if row in asked] == [
        row for at, row in enumerate(rows) if at % WATCHED_SHARE == 0 or at == 70
    ]


def test_a_panic_of_the_library_ends_its_use_and_costs_nothing_else(chatml_folder) -> None:
    class Panic(BaseException):
        """What pyo3 raises is no `Exception`."""

    class Broken:
        def encode_batch_flat(self, texts, add_special_tokens):
            raise Panic

    tokenizer = ready(chatml_folder)
    tokenizer.fast._native = Broken()
    assert_same_as_tokenizers(tokenizer, ["a row"])
    assert not tokenizer.fast.ready


def test_a_library_that_fails_a_probe_is_never_used(chatml_folder, monkeypatch) -> None:
    monkeypatch.setattr(fast_encoding, "_flat", lambda native, texts: (np.zeros(0, np.int32), np.zeros(999, np.int64)))
    assert not ready(chatml_folder).fast.ready


def test_few_rows_do_not_load_it_and_without_the_library_nothing_is_missing(chatml_folder, monkeypatch) -> None:
    renderer = load_renderer(chatml_folder)
    renderer.announce(1000)
    assert renderer.tokenizer.fast._thread is None
    monkeypatch.setattr(fast_encoding, "PACKAGE", "no-such-package")
    assert load_renderer(chatml_folder).tokenizer.fast is None


def test_the_switch_turns_it_off(chatml_folder) -> None:
    assert load_renderer(chatml_folder, fast=False).tokenizer.fast is None
    assert isinstance(load_renderer(chatml_folder).tokenizer.fast, FastEncoding)
