"""Where each token starts and ends in its text, from the ids alone.

In: the ids of texts, the texts. Out: for every token its first character and the one after its last, equal to the
offsets of the `tokenizers` library, and which rows this holds for.

A byte-level tokenizer writes each token as the bytes that it stands for, and where nothing rewrites the text first,
the tokens of a text laid end to end are its bytes. So their widths tell every place; a row whose widths do not add
up to its bytes is not answered for. Where the tokenizer is of another kind, `widths_of` gives None. It deliberately
encodes nothing.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models

KEEPS_TEXT = ("Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
"""What a Split may do with its finds; `Removed` takes text away."""


@dataclass(frozen=True)
class Widths:
    """width_V: bytes of every token. composes: the text is put into NFC first, which must find nothing to do."""

    width_V: NDArray[np.int64]
    composes: bool

    def places(
        self, ids_T: NDArray[np.int32], offsets_R: NDArray[np.int64], texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """start_T, end_T, and holds_R: whether the places of a row are right. offsets_R: R+1, into ids_T."""
        joined = "".join(texts)
        width_T = self.width_V[ids_T]
        after_T = np.cumsum(width_T)
        ends = np.concatenate([[0], after_T])[offsets_R]
        size_R = np.array([len(text) if text.isascii() else len(text.encode()) for text in texts], dtype=np.int64)
        holds_R = np.diff(ends) == size_R
        if self.composes:
            holds_R &= np.array([text.isascii() or unicodedata.is_normalized("NFC", text) for text in texts])
        count_R = np.diff(offsets_R)
        end_T = after_T - np.repeat(ends[:-1], count_R)
        start_T = end_T - width_T
        if not joined.isascii():
            start_T, end_T = _in_characters(start_T, end_T, joined, size_R, count_R)
        return start_T, end_T, holds_R


def widths_of(rust: RustTokenizer) -> Widths | None:
    """None where ids alone do not tell the places."""
    model = rust.model
    if not isinstance(model, models.BPE) or model.dropout or model.byte_fallback or model.continuing_subword_prefix:
        return None
    normalizer = _state(rust.normalizer)
    composes = normalizer is not None and normalizer["type"] == "NFC"
    if not composes and normalizer not in (None, {"type": "Sequence", "normalizers": []}):
        return None
    if not _cuts_only(_state(rust.pre_tokenizer)):
        return None
    added = rust.get_added_tokens_decoder()
    if any(token.lstrip or token.rstrip or token.single_word for token in added.values()):
        return None
    return _measured(rust, {id: token.content for id, token in added.items()}, composes)


def _measured(rust: RustTokenizer, added: dict[int, str], composes: bool) -> Widths | None:
    letters = _byte_letters()
    vocabulary = rust.get_vocab(with_added_tokens=True)
    width_V = np.zeros(max(vocabulary.values(), default=0) + 1, dtype=np.int64)
    for token, id in vocabulary.items():
        if id in added:
            width_V[id] = len(added[id].encode())
        elif letters.issuperset(token):
            width_V[id] = len(token)
    if not width_V.any():
        return None
    return Widths(width_V, composes)


def _in_characters(
    start_T: NDArray[np.int64],
    end_T: NDArray[np.int64],
    joined: str,
    size_R: NDArray[np.int64],
    count_R: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bytes of a row -> characters of it; a token of part of a character covers all of it."""
    byte_B = np.frombuffer(joined.encode(), dtype=np.uint8)
    before_B = np.cumsum((byte_B & 0xC0) != 0x80) - 1  # the character that each byte belongs to
    first_R = np.cumsum(size_R) - size_R
    first_T = np.repeat(first_R, count_R)
    row_T = np.repeat(before_B[np.minimum(first_R, byte_B.size - 1)], count_R)
    last = byte_B.size - 1
    start = before_B[np.clip(start_T + first_T, 0, last)] - row_T
    end = before_B[np.clip(end_T - 1 + first_T, 0, last)] + 1 - row_T
    return start, end


def _cuts_only(state: dict[str, Any] | None) -> bool:
    """Does what stands before the model only cut the text, and end by writing its bytes as letters?"""
    if state is None:
        return False
    steps = state["pretokenizers"] if state["type"] == "Sequence" else [state]
    *cuts, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    return all(cut["type"] == "Digits" or (cut["type"] == "Split" and cut["behavior"] in KEEPS_TEXT) for cut in cuts)


def _state(part: Any) -> dict[str, Any] | None:
    return None if part is None else json.loads(part.__getstate__())


def _byte_letters() -> frozenset[str]:
    """The 256 letters by which byte-level vocabularies write bytes: printable ones stand for themselves."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    return frozenset(map(chr, plain)) | frozenset(map(chr, range(0x100, 0x100 + 256 - len(plain))))
