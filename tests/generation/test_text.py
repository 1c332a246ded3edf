"""Pieces of text that together are the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from llama_factory.generation import decode_stream


class Bytes:
    """A token a byte; 256 is a control token."""

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return bytes(id for id in ids if id < 256).decode("utf-8", errors="replace")


class Fallback:
    """A SentencePiece-like decoder: a space before each word, dropped at the start, and bytes for the rest."""

    def __init__(self) -> None:
        words = {"▁see": 0, "▁a": 1, "b": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}}
        self.rust = Tokenizer(models.BPE(words, [], byte_fallback=True))
        parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        self.rust.decoder = decoders.Sequence(parts)

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return str(self.rust.decode(list(ids)))

    def ids(self, text: str) -> list[int]:
        return [3 + byte for byte in text.encode()]


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    seen = list(decode_stream(Bytes(), iter("a猫🙂b".encode())))
    assert seen == ["a", "猫", "🙂", "b"]


def test_what_never_becomes_whole_is_given_at_the_end() -> None:
    assert list(decode_stream(Bytes(), iter("x猫".encode()[:-1]))) == ["x", "\ufffd"]


def test_a_control_token_writes_nothing() -> None:
    assert list(decode_stream(Bytes(), [104, 256, 105, 256])) == ["h", "i"]


def test_a_word_after_a_character_of_several_tokens_keeps_its_space() -> None:
    decoder = Fallback()
    ids = [0, 1, *decoder.ids("猫"), 0, 2, *decoder.ids("🙂"), 1]
    assert "".join(decode_stream(decoder, ids)) == decoder.decode(ids) == "see a猫 seeb🙂 a"


@given(st.lists(st.integers(0, 256), max_size=40))
def test_any_bytes_give_together_what_decoding_them_at_once_gives(ids: list[int]) -> None:
    pieces = list(decode_stream(Bytes(), ids))
    assert "".join(pieces) == Bytes().decode(ids)
    assert all(pieces)


def test_pieces_of_a_real_tokenizer_join_to_the_text(tiny_model: Path) -> None:
    from llama_factory.render import load_renderer

    renderer = load_renderer(tiny_model)
    text = "def f(x):\n    return x  # 猫 and 🙂, naïve\n" * 3
    ids = renderer.tokenizer.rust.encode(text, add_special_tokens=False).ids
    pieces = list(decode_stream(renderer, ids))
    assert "".join(pieces) == text
    assert len(pieces) > 20
