"""Rendered rows -> the folder that `data.store` maps: appended as they come, never held.

In: `Rendered` rows, one after the other. Out: a folder of .npy files and `meta.json`. The arrays grow on
disk, so memory does not depend on the size of the data set. It deliberately knows nothing of names,
locks and renames: it is handed a folder and fills it; `storage` makes the folder whole or absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llama_factory.data.store import KINDS, MEDIA, ROW_BITS
from llama_factory.records import Rendered


class GrowingArray:
    """A one-dimensional .npy file of unknown length: the header is written last, in the room kept for it.

    numpy pads the header it writes so that the first axis may grow in place; `close` relies on that and
    checks it.
    """

    def __init__(self, path: Path, dtype: DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file: BinaryIO = path.open("wb+")
        self.size = 0
        self._write_header()
        self._start = self._file.tell()

    def append(self, array: NDArray[Any]) -> None:
        self._file.write(np.asarray(array, dtype=self._dtype).tobytes())
        self.size += int(array.size)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._start:
            raise AssertionError("the header of a .npy file grew over its data")
        self._file.close()

    def abandon(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.size,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class PartWriter:
    """Fills one folder. Use as a context manager: leaving without `finish` closes the files and no more."""

    def __init__(self, folder: Path, files: Sequence[str] = ()) -> None:
        """files: the names that origins may have; a row's origin is stored as its row and the number of its file."""
        self._folder = folder
        self._files = tuple(files)
        self._file_bits = {name: number << ROW_BITS for number, name in enumerate(files)}
        self._ids = GrowingArray(folder / "ids.npy", np.int32)
        self._weights = GrowingArray(folder / "weights.npy", np.float32)
        self._messages = GrowingArray(folder / "messages.npy", np.int16)
        self._offsets = GrowingArray(folder / "offsets.npy", np.int64)
        self._supervised = GrowingArray(folder / "supervised.npy", np.float64)
        self._origins = GrowingArray(folder / "origins.npy", np.int64)
        self._media = GrowingArray(folder / "media.npy", MEDIA)
        self._seals = tuple(hashlib.sha256() for _ in range(3))
        self._offsets.append(np.zeros(1, dtype=np.int64))

    @property
    def rows(self) -> int:
        return self._origins.size

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for array in self._arrays():
            array.abandon()

    def append(self, rows: Sequence[Rendered]) -> None:
        """One chunk. The first token of a row is never predicted, so its weight is put to 0 here, once."""
        if not rows:
            return
        ids_T = np.concatenate([row.ids_T for row in rows]).astype(np.int32)
        weight_T = np.concatenate([row.weight_T for row in rows]).astype(np.float32)
        start_R = np.cumsum([0, *(row.ids_T.size for row in rows[:-1])]).astype(np.int64)
        weight_T[start_R] = 0.0
        before = self._ids.size
        first_row = self.rows
        self._ids.append(ids_T)
        self._weights.append(weight_T)
        self._messages.append(np.concatenate([row.message_T for row in rows]))
        self._offsets.append(np.append(start_R[1:], ids_T.size) + before)
        self._supervised.append(np.add.reduceat(weight_T.astype(np.float64), start_R))
        self._origins.append(np.array([self._origin(row) for row in rows], dtype=np.int64))
        self._append_media(rows, first_row)
        length_R = np.diff(np.append(start_R, ids_T.size))
        for seal, array, dtype in zip(self._seals, (length_R, ids_T, weight_T), ("<i8", "<i4", "<f4"), strict=True):
            seal.update(array.astype(dtype, copy=False).tobytes())

    def finish(self, meta: Mapping[str, Any]) -> None:
        for array in self._arrays():
            array.close()
        content = hashlib.sha256(b"".join(seal.digest() for seal in self._seals)).hexdigest()
        text = json.dumps(
            {**meta, "files": self._files, "content": content}, ensure_ascii=True, indent=1, allow_nan=False
        )
        (self._folder / "meta.json").write_text(text, encoding="utf-8")

    def _origin(self, row: Rendered) -> int:
        return row.origin.row | (self._file_bits[row.origin.file] if self._files else 0)

    def _append_media(self, rows: Sequence[Rendered], first_row: int) -> None:
        spans = [
            (first_row + at, KINDS.index(span.kind), span.start, span.end, span.digest.encode("ascii"))
            for at, row in enumerate(rows)
            for span in row.media
        ]
        if spans:
            self._media.append(np.array(spans, dtype=MEDIA))

    def _arrays(self) -> tuple[GrowingArray, ...]:
        return (
            self._ids,
            self._weights,
            self._messages,
            self._offsets,
            self._supervised,
            self._origins,
            self._media,
        )
