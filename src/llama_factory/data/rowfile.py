"""Rows -> bytes of a file: JSON Lines, one JSON array, or CSV, as the file's name says; written as the rows come.

In: a name, a binary file, one object at a time. Out: bytes; at most one row is held. CSV has one line of headings,
taken from the first row: a value that is no text or number, or a key that the first row has not, is refused with its
place, because the cell would not say it. Files, names and renames are not its business (`storage.write_stream`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from llama_factory.errors import DataError, InputError


class Sink(Protocol):
    """`write` each row, then `end`."""

    def write(self, row: Mapping[str, Any], where: object) -> None: ...

    def end(self) -> None: ...


def sink(name: Path, file: BinaryIO, *, spare: Sequence[str] = ()) -> Sink:
    """The writer that the file's name asks for; `check_name` has been asked before.

    spare: columns of a table that the first row need not have.
    """
    return SINKS[name.suffix.lower()](file, spare)


def check_name(path: Path) -> None:
    if path.suffix.lower() not in SINKS:
        raise InputError("apps.out-suffix", where=path, known=", ".join(SINKS))


class _Lines:
    def __init__(self, file: BinaryIO, spare: Sequence[str]) -> None:
        self._file = file

    def write(self, row: Mapping[str, Any], where: object) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def end(self) -> None:
        """Lines need no end."""


class _Array:
    def __init__(self, file: BinaryIO, spare: Sequence[str]) -> None:
        self._file = file
        self._before = b"[\n"

    def write(self, row: Mapping[str, Any], where: object) -> None:
        self._file.write(self._before + json.dumps(row, ensure_ascii=False).encode())
        self._before = b",\n"

    def end(self) -> None:
        self._file.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class _Table:
    def __init__(self, file: BinaryIO, spare: Sequence[str]) -> None:
        self._file = file
        self._keys: tuple[str, ...] = ()
        self._spare = spare

    def write(self, row: Mapping[str, Any], where: object) -> None:
        if not self._keys:
            self._keys = tuple(dict.fromkeys((*row, *self._spare)))
            self._line(self._keys)
        extra = next((key for key in row if key not in self._keys), None)
        if extra is not None:
            raise DataError("data.csv-key", where=where, key=extra, keys=", ".join(self._keys))
        self._line([_cell(row.get(key), key, where) for key in self._keys])

    def end(self) -> None:
        """Lines need no end."""

    def _line(self, cells: Any) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._file.write(text.getvalue().encode())


def _cell(value: Any, key: str, where: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise DataError("data.csv-nested", where=where, key=key)


SINKS: Mapping[str, Callable[[BinaryIO, Sequence[str]], Sink]] = {".jsonl": _Lines, ".json": _Array, ".csv": _Table}
