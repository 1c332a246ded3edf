"""Text to tokens, in a way that no control token can arise from a message's text.

In: a tokenizer folder; strings with their untrusted spans and with places where a token must not
reach across. Out: ids and the character where each one starts.

`tokenizer.json` is read by the tokenizers library itself: that is exact (for one known family the
transformers wrapper is not) and takes a tenth of a second. Only a folder without that file goes
through transformers. The usual row is encoded whole, as `apply_chat_template` does; a row whose
messages spell out a control token, or whose answer would share its first token with the template,
is encoded piece by piece. Templates are not known here.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import processors

from llama_factory.errors import InputError
from llama_factory.render.fast_encoding import FastEncoding, fast_encoding
from llama_factory.render.provenance import Span, Traced, plain
from llama_factory.render.widths import Widths, widths_of

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip

TEXT_TOKENS = "llama_factory_text_tokens"
"""In tokenizer_config.json: special tokens that messages may spell, for they were asked for as tokens of texts."""


class Encoded(NamedTuple):
    """ids_T: int32. start_T: int64, the character each token starts at. end_T: the one it ends before."""

    ids_T: NDArray[np.int32]
    start_T: NDArray[np.int64]
    end_T: NDArray[np.int64]


class EncodedRows(NamedTuple):
    """Many texts, their tokens end to end. offsets_R: R+1; text r has the tokens offsets_R[r] to offsets_R[r+1].

    start_T, end_T: as in `Encoded`, characters of the token's own text.
    """

    ids_T: NDArray[np.int32]
    start_T: NDArray[np.int64]
    end_T: NDArray[np.int64]
    offsets_R: NDArray[np.int64]

    def each(self) -> list[Encoded]:
        return [
            Encoded(self.ids_T[left:right], self.start_T[left:right], self.end_T[left:right])
            for left, right in itertools.pairwise(self.offsets_R.tolist())
        ]


@dataclass(frozen=True)
class Tokenizer:
    """One tokenizer, and the names of its special tokens. fast: None where only `tokenizers` is to encode.

    texts: special tokens that messages may spell. new: tokens that were given to it (`growing`), with their ids.
    files: of the tokenizer with them, in the place of those in the folder.
    """

    folder: Path
    rust: RustTokenizer
    config: Mapping[str, Any]
    fast: FastEncoding | None = None
    texts: frozenset[str] = frozenset()
    new: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        """What makes the ids, with versions."""
        plainly = f"tokenizers {tokenizers.__version__}"
        return f"{plainly}, {self.fast.name}" if self.fast else plainly

    @cached_property
    def control(self) -> Mapping[str, int]:
        """Text of every control token (`special: true`, but for those of texts) and its id."""
        added = self.rust.get_added_tokens_decoder().items()
        return {token.content: id for id, token in added if token.special and token.content not in self.texts}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """`bos_token` and the like, as templates use them."""
        return {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in self.config.items()
            if key.endswith("_token") and isinstance(value, (str, dict))
        }

    @property
    def vocabulary_size(self) -> int:
        return int(self.rust.get_vocab_size(with_added_tokens=True))

    def id_of(self, name: str) -> int | None:
        token = self.names.get(name)
        return None if token is None else self.rust.token_to_id(token)

    def encode(self, texts: Sequence[Traced]) -> list[Encoded]:
        """Each text whole, as `apply_chat_template` encodes it. Raises StartAgain."""
        return self.encode_rows(texts).each()

    def encode_rows(self, texts: Sequence[Traced]) -> EncodedRows:
        """Each text whole, as `apply_chat_template` encodes it. Raises StartAgain."""
        written = [plain(text) for text in texts]
        if self._widths is None or not written:
            return _end_to_end(self._with_offsets(written))
        ids_T, offsets_R = (self.fast.encode(written) if self.fast else None) or self._ids(written)
        start_T, end_T, holds_R = self._widths.places(ids_T, offsets_R, written)
        found = EncodedRows(ids_T, start_T, end_T, offsets_R)
        if holds_R.all():
            return found
        rows = found.each()
        unknown = np.flatnonzero(~holds_R).tolist()
        for row, encoded in zip(unknown, self._with_offsets([written[row] for row in unknown]), strict=True):
            rows[row] = encoded
        return _end_to_end(rows)

    def _ids(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ids = [encoding.ids for encoding in self.rust.encode_batch_fast(texts, add_special_tokens=False)]
        offsets_R = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        return np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=int(offsets_R[-1])), offsets_R

    def _with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        encodings = self.rust.encode_batch(texts, add_special_tokens=False)
        return [_encoded(encoding.ids, encoding.offsets) for encoding in encodings]

    def touches_untrusted(self, encoded: Encoded, text: Traced) -> bool:
        """Is there a control token on a character that a message wrote?"""
        at = np.flatnonzero(np.isin(encoded.ids_T, self.control_ids))
        if not at.size or not text.spans:
            return False
        start_S = np.array([span.start for span in text.spans])
        end_S = np.array([span.end for span in text.spans])
        nearest = np.searchsorted(start_S, encoded.end_T[at], side="left") - 1
        return bool(np.any((nearest >= 0) & (end_S[nearest] > encoded.start_T[at])))

    def encode_in_pieces(self, text: Traced, borders: Sequence[int]) -> Encoded:
        """No control token where a message wrote, and no token across a border.

        The text is cut at the control tokens that the template wrote and at the borders; what lies
        between is encoded as plain text, in which the spelling of a control token is only letters.
        """
        whole = plain(text)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        cuts = sorted({0, len(whole), *borders})
        for left, right in itertools.pairwise(cuts):
            at = left
            for found in self._control_pattern.finditer(whole, left, right):
                if _overlaps(text.spans, found.start(), found.end()):
                    continue
                self._plain_piece(whole, at, found.start(), ids, offsets)
                ids.append(self.control[found.group()])
                offsets.append(found.span())
                at = found.end()
            self._plain_piece(whole, at, right, ids, offsets)
        return _encoded(ids, offsets)

    def control_spellings(self, text: Traced, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where, between two places, the template itself wrote a control token."""
        for found in self._control_pattern.finditer(plain(text), start, end):
            if not _overlaps(text.spans, found.start(), found.end()):
                yield found.span()

    def _plain_piece(self, whole: str, start: int, end: int, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        if start < end:
            encoding = self._without_control.encode(whole[start:end], add_special_tokens=False)
            ids += encoding.ids
            offsets += ((left + start, right + start) for left, right in encoding.offsets)

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return str(self.rust.decode(list(ids), skip_special_tokens=skip_control))

    @cached_property
    def _widths(self) -> Widths | None:
        return widths_of(self.rust)

    @cached_property
    def control_ids(self) -> NDArray[np.int64]:
        return np.array(sorted(self.control.values()), dtype=np.int64)

    @cached_property
    def control_V(self) -> NDArray[np.bool_]:
        """Whether an id is a control token's."""
        found = np.zeros(max(self.rust.get_vocab(with_added_tokens=True).values(), default=0) + 1, dtype=bool)
        found[self.control_ids] = True
        return found

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.control, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @cached_property
    def _without_control(self) -> RustTokenizer:
        said = json.loads(self.rust.to_str())
        for token in said["added_tokens"]:
            token["special"] = token["special"] and token["content"] not in self.texts
        blind = RustTokenizer.from_str(json.dumps(said) if self.texts else self.rust.to_str())
        blind.encode_special_tokens = True
        return blind


def open_tokenizer(folder: Path, *, trust_remote_code: bool = False, fast: bool = True) -> Tokenizer:
    """fast: many rows may be encoded by another library, watched by `tokenizers`, where it is installed.

    Raises InputError `render.no-tokenizer` or `render.broken-tokenizer`.
    """
    rust_file = folder / "tokenizer.json"
    if rust_file.is_file():
        try:
            rust = RustTokenizer.from_file(str(rust_file))
        except Exception as error:  # noqa: BLE001 - the library raises the bare class for every fault of the file
            raise InputError("render.broken-tokenizer", where=rust_file, reason=str(error)) from None
    else:
        rust = _through_transformers(folder, trust_remote_code)
    rust, config = made_ready(rust), _config(folder)
    texts = config.get(TEXT_TOKENS)
    return Tokenizer(
        folder, rust, config, fast_encoding(rust) if fast else None, frozenset(texts if isinstance(texts, list) else ())
    )


def made_ready(rust: RustTokenizer) -> RustTokenizer:
    """The same, to encode what is given and nothing else."""
    # Byte-level post-processors trim spaces out of the offsets; the ids do not depend on them.
    rust.post_processor = processors.ByteLevel(trim_offsets=False)
    rust.no_truncation()
    rust.no_padding()
    return rust


def _through_transformers(folder: Path, trust_remote_code: bool) -> RustTokenizer:
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError("render.no-tokenizer", where=folder)
    from transformers import AutoTokenizer

    try:
        slow = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
        return RustTokenizer.from_str(slow.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise InputError("render.broken-tokenizer", where=folder, reason=str(error).splitlines()[0]) from None


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            config |= json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, TypeError) as error:
            raise InputError("render.broken-tokenizer", where=file, reason=str(error)) from None
    return config


def _end_to_end(rows: Sequence[Encoded]) -> EncodedRows:
    offsets_R = np.cumsum([0, *(row.ids_T.size for row in rows)], dtype=np.int64)
    none = _encoded([], [])
    ids_T, start_T, end_T = (np.concatenate(column) for column in zip(none, *rows, strict=True))
    return EncodedRows(ids_T, start_T, end_T, offsets_R)


def _encoded(ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> Encoded:
    offset_T2 = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    return Encoded(np.array(ids, dtype=np.int32), offset_T2[:, 0], offset_T2[:, 1])


def _overlaps(spans: Sequence[Span], start: int, end: int) -> bool:
    return any(span.start < end and span.end > start for span in spans)
