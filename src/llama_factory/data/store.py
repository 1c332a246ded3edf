"""Rendered rows as memory-mapped arrays: what training reads, and all that it reads.

In: folders that `data.writing` filled, one for each data set (`Part`), put end to end and, for a validation
split, narrowed to some of their rows. Out: rows by number, as views into the files; nothing is copied
before a batch is laid out. It deliberately does not write, does not know how a row was made, and does
not check hashes: `Part.open` looks at sizes and shapes only, so opening costs the same for any size.

A folder holds
    ids.npy        int32    all tokens of all rows, end to end
    weights.npy    float32  weight of predicting each token; 0 at the first token of every row
    messages.npy   int16    the message each token came from, or -1 for the template
    offsets.npy    int64    row r is tokens offsets[r] to offsets[r+1]
    supervised.npy float64  sum of the weights of each row
    origins.npy    int64    line or record number of each row, and above ROW_BITS the number of its file
    media.npy      records  row, kind, start, end, digest of every media span
    meta.json               the names of the files, what shaped the rows, and what was found on the way
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llama_factory.errors import DataError
from llama_factory.records import MediaSpan, Origin

ROW_BITS = 40
"""Bits of an origin that are the row; those above are the place of its file in `meta.json`."""

STRETCH_TOKENS = 1 << 20
"""Of a pass over all rows, so much is looked at before it is let go."""

KINDS = ("image", "audio", "video")
MEDIA = np.dtype([("row", "<i8"), ("kind", "u1"), ("start", "<i8"), ("end", "<i8"), ("digest", "S64")])


@dataclass(frozen=True, slots=True, eq=False)
class StoredRow:
    """One row, as views into the files. The axes are those of `records.Rendered`."""

    ids_T: NDArray[np.int32]
    weight_T: NDArray[np.float32]
    message_T: NDArray[np.int16]
    origin: Origin
    media: tuple[MediaSpan, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One data set's folder, opened. `meta` is what `data.writing` put beside the arrays."""

    folder: Path
    ids_T: NDArray[np.int32]
    weight_T: NDArray[np.float32]
    message_T: NDArray[np.int16]
    offsets: NDArray[np.int64]
    supervised_R: NDArray[np.float64]
    origin_R: NDArray[np.int64]
    media: NDArray[Any]
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Part:
        """Open without reading the tokens. A folder whose files do not fit together is a `DataError`."""
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            part = cls(
                folder=folder,
                ids_T=_load(folder, "ids", np.int32, mapped=True),
                weight_T=_load(folder, "weights", np.float32, mapped=True),
                message_T=_load(folder, "messages", np.int16, mapped=True),
                offsets=_load(folder, "offsets", np.int64),
                supervised_R=_load(folder, "supervised", np.float64),
                origin_R=_load(folder, "origins", np.int64),
                media=np.load(folder / "media.npy", allow_pickle=False),
                meta=meta,
            )
        except (OSError, ValueError, EOFError) as problem:
            raise DataError("data.store-damaged", where=folder, found=str(problem)) from problem
        wrong = part._misfit()
        if wrong:
            raise DataError("data.store-damaged", where=folder, found=wrong)
        return part

    @property
    def rows(self) -> int:
        return int(self.origin_R.size)

    def origin(self, row: int) -> Origin:
        number, at = divmod(int(self.origin_R[row]), 1 << ROW_BITS)
        files = self.meta.get("files") or [self.meta["file"]]
        return Origin(str(files[number]), at)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """All rows, some at a time: the first, and the one behind the last. What was read of them is then let go."""
        start = 0
        while start < self.rows:
            enough = int(self.offsets[start]) + STRETCH_TOKENS
            stop = max(start + 1, int(np.searchsorted(self.offsets, enough, side="right")) - 1)
            yield start, stop
            self.let_go()
            start = stop

    def let_go(self) -> None:
        """What was read of the files counts no longer as this process's memory. Views stay good: the system has it."""
        for array in (self.ids_T, self.weight_T, self.message_T):
            if isinstance(array.base, mmap.mmap) and hasattr(array.base, "madvise"):
                array.base.madvise(mmap.MADV_DONTNEED)

    def _misfit(self) -> str:
        tokens = self.ids_T.size
        if not isinstance(self.meta, dict):
            return "meta.json"
        if self.offsets.size != self.rows + 1 or self.supervised_R.size != self.rows or self.rows == 0:
            return "offsets.npy"
        if self.offsets[0] != 0 or self.offsets[-1] != tokens or bool((np.diff(self.offsets) <= 0).any()):
            return "offsets.npy"
        if self.weight_T.size != tokens or self.message_T.size != tokens:
            return "weights.npy"
        return "media.npy" if self.media.dtype != MEDIA else ""


class TokenStore:
    """The rows of some data sets, or a choice of them, numbered from 0."""

    def __init__(self, parts: Sequence[Part], index_R: NDArray[np.int64] | None = None) -> None:
        """parts: data sets in the order of the configuration; index_R: which of their rows, and in which order."""
        self._parts = tuple(parts)
        self._starts = np.concatenate([[0], np.cumsum([part.rows for part in self._parts])]).astype(np.int64)
        self._index_R = np.arange(self._starts[-1], dtype=np.int64) if index_R is None else index_R
        lengths = np.concatenate([np.diff(part.offsets) for part in self._parts])
        supervised = np.concatenate([part.supervised_R for part in self._parts])
        self.lengths: NDArray[np.int64] = lengths[self._index_R]
        self.supervised: NDArray[np.float64] = supervised[self._index_R]

    def __len__(self) -> int:
        return int(self._index_R.size)

    @property
    def parts(self) -> tuple[Part, ...]:
        return self._parts

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    def row(self, number: int) -> StoredRow:
        part, local = self._find(number)
        start, end = int(part.offsets[local]), int(part.offsets[local + 1])
        return StoredRow(
            ids_T=part.ids_T[start:end],
            weight_T=part.weight_T[start:end],
            message_T=part.message_T[start:end],
            origin=part.origin(local),
            media=_media(part, local) if part.media.size else (),
        )

    def origin(self, number: int) -> Origin:
        part, local = self._find(number)
        return part.origin(local)

    def tokens_of(self, number: int) -> NDArray[np.int32]:
        """The tokens of one row, and nothing else of it."""
        part, local = self._find(number)
        return part.ids_T[int(part.offsets[local]) : int(part.offsets[local + 1])]

    def let_go(self) -> None:
        """What was read of the files counts no longer as this process's memory."""
        for part in self._parts:
            part.let_go()

    def largest_id(self) -> int:
        """Of all rows in the files."""
        return max(
            int(part.ids_T[part.offsets[start] : part.offsets[stop]].max())
            for part in self._parts
            for start, stop in part.stretches()
        )

    def pieces(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Ids and weights of the rows of this store, some rows at a time, each row once."""
        asked_R, before = self._asked(), 0
        for part in self._parts:
            for start, stop in part.stretches():
                piece = slice(part.offsets[start], part.offsets[stop])
                lengths = np.diff(part.offsets[start : stop + 1])
                asked_T = np.repeat(asked_R[before + start : before + stop], lengths)
                yield part.ids_T[piece][asked_T], part.weight_T[piece][asked_T]
            before += part.rows

    def last_trained(self) -> NDArray[np.int32]:
        """Of every row, the last token that has a weight."""
        last_R, at = np.zeros(self._starts[-1], dtype=np.int32), 0
        for part in self._parts:
            for start, stop in part.stretches():
                first, behind = part.offsets[start], part.offsets[stop]
                trained = np.flatnonzero(part.weight_T[first:behind])
                ends = np.searchsorted(trained, part.offsets[start + 1 : stop + 1] - first) - 1
                last_R[at : at + stop - start] = part.ids_T[first:behind][trained[ends]]
                at += stop - start
        return last_R[self._index_R]

    def digests(self) -> NDArray[np.uint64]:
        """Of every row, 64 bits of what its tokens hash to: equal rows have equal ones, and others hardly ever."""
        asked, before = self._asked(), 0
        digest_R = np.zeros(self._starts[-1], dtype=np.uint64)
        for part in self._parts:
            for start, stop in part.stretches():
                for local in (start + np.flatnonzero(asked[before + start : before + stop])).tolist():
                    tokens = part.ids_T[part.offsets[local] : part.offsets[local + 1]]
                    seal = hashlib.blake2b(tokens.tobytes(), digest_size=8)
                    digest_R[before + local] = int.from_bytes(seal.digest(), "little")
            before += part.rows
        return digest_R[self._index_R]

    def origins(self) -> NDArray[np.int64]:
        """R x 2: the part and the stored origin of every row; rows cut from one record share them."""
        part_R = np.repeat(np.arange(len(self._parts)), np.diff(self._starts))
        row_R = np.concatenate([part.origin_R for part in self._parts])
        return np.stack([part_R, row_R], axis=1)[self._index_R]

    def different(self) -> NDArray[np.int64]:
        """The first number of every row: a store may have been told to repeat some."""
        return np.sort(np.unique(self._index_R, return_index=True)[1])

    def select(self, rows: NDArray[np.int64]) -> TokenStore:
        """The same files, narrowed to these rows of this store."""
        return TokenStore(self._parts, self._index_R[rows])

    @property
    def fingerprint(self) -> str:
        """Equal for equal tokens and weights in equal order, wherever the files lie and whatever made them."""
        seal = hashlib.sha256(self._index_R.astype("<i8").tobytes())
        for part in self._parts:
            seal.update(str(part.meta["content"]).encode("ascii"))
        return seal.hexdigest()

    def _asked(self) -> NDArray[np.bool_]:
        """Of all rows in the files: which are rows of this store."""
        asked_R = np.zeros(self._starts[-1], dtype=bool)
        asked_R[self._index_R] = True
        return asked_R

    def _find(self, number: int) -> tuple[Part, int]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        at = int(self._index_R[number])
        which = int(np.searchsorted(self._starts, at, side="right")) - 1
        return self._parts[which], at - int(self._starts[which])


def _load(folder: Path, name: str, dtype: type[np.generic], *, mapped: bool = False) -> NDArray[Any]:
    array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r" if mapped else None, allow_pickle=False)
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"{name}.npy")
    return array


def _media(part: Part, local: int) -> tuple[MediaSpan, ...]:
    first, last = np.searchsorted(part.media["row"], [local, local + 1])
    return tuple(
        MediaSpan(kind=KINDS[int(span["kind"])], start=int(span["start"]), end=int(span["end"]),  # type: ignore[arg-type]
                  digest=span["digest"].decode("ascii"))
        for span in part.media[first:last]
    )  # fmt: skip
