"""Texts without turns to tokens, for pre-training: begin, text, end; all of it learned.

In: a tokenizer and `Text` records. Out: a `Rendered` each. The text is as untrusted as any message: where it spells a
control token it becomes letters. Before it stands the token that this tokenizer puts before every text, if it has one,
behind it the token that ends a document, so that the model learns where texts end. No template is used, and a text of
any length is one row: cutting it into blocks is the work of `data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer as RustTokenizer

from llama_factory.errors import DataError, InputError, LlamaFactoryError
from llama_factory.records import FROM_TEMPLATE, Rendered, Text
from llama_factory.render.provenance import Traced
from llama_factory.render.tokenizer import Tokenizer

TEXT = 0
"""In `Rendered.message_T`: a token of the text."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands before and behind every text."""

    begin: int | None
    end: int


def marks_of(tokenizer: Tokenizer) -> Marks:
    """Raises InputError `render.no-end-of-document` for a tokenizer that names no `eos_token`."""
    end = tokenizer.id_of("eos_token")
    if end is None:
        raise InputError("render.no-end-of-document", where=tokenizer.folder)
    return Marks(_begin(tokenizer), end)


def render_texts(tokenizer: Tokenizer, marks: Marks, texts: Sequence[Text]) -> list[Rendered | LlamaFactoryError]:
    """One result a text, in order; one that cannot be kept apart from control tokens comes back as its error."""
    traced = [Traced.of(text.text, TEXT) for text in texts]
    found: list[Rendered | LlamaFactoryError] = []
    for text, words, encoded in zip(texts, traced, tokenizer.encode(traced), strict=True):
        if tokenizer.touches_untrusted(encoded, words):
            encoded = tokenizer.encode_in_pieces(words, ())
        if tokenizer.touches_untrusted(encoded, words):
            found.append(DataError("render.control-in-text", where=text.origin))
            continue
        begin = [] if marks.begin is None else [marks.begin]
        ids_T = np.concatenate([begin, encoded.ids_T, [marks.end]]).astype(np.int32)
        weight_T = np.ones(ids_T.size, dtype=np.float32)
        weight_T[0] = 0.0  # nothing comes before the first token that could predict it
        message_T = np.full(ids_T.size, TEXT, dtype=np.int16)
        message_T[: len(begin)] = FROM_TEMPLATE
        message_T[-1] = FROM_TEMPLATE
        found.append(Rendered(text.text, ids_T, weight_T, message_T, text.origin))
    return found


def _begin(tokenizer: Tokenizer) -> int | None:
    """What the tokenizer itself puts first. Its configuration may say so; else its own file shows it."""
    begin = tokenizer.id_of("bos_token")
    said = tokenizer.config.get("add_bos_token")
    file = tokenizer.folder / "tokenizer.json"
    if begin is None or said is False or (said is None and not file.is_file()):
        return None
    if said is True:
        return begin
    as_shipped = RustTokenizer.from_file(str(file))  # ours has been told to add nothing
    first = as_shipped.encode("a").ids[:1]
    return begin if first == [begin] else None
