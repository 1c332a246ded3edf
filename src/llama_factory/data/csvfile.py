"""A .csv or .tsv file -> one row a record, keys from the header, every value text as it was written.

In: a path. Out: `(origin, row)`, the origin being the line on which the record starts; an empty cell is an
empty text. A record with another number of cells than the header is a bad row. A quote that is never closed,
or goes on after its end, is raised: nothing behind it can be trusted. Numbers, dates and NULL stay the words
they are, so `007` reaches training as `007`. It deliberately guesses no separator and no header.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llama_factory.data import kinds
from llama_factory.data.lines import Found, first_bytes, lines, text_of, too_large
from llama_factory.data.words import short
from llama_factory.errors import DataError
from llama_factory.records import Origin

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def csv_rows(path: Path, shown: str, max_bytes: int) -> Found:
    """All records below the header. Records of white space alone are no rows."""
    named = kinds.named(path.name)
    separator = SEPARATORS[named.suffix if named else ".csv"]
    csv.field_size_limit(max(csv.field_size_limit(), max_bytes))  # the library's own limit is below one long text
    with kinds.plain(path) as file:
        _, mark = first_bytes(file, shown)
    with kinds.plain(path) as file:
        file.read(mark)
        records = _records(file, shown, max_bytes, mark, separator)
        header: list[str] | None = None
        for origin, found in records:
            if isinstance(found, DataError):
                if header is None:
                    raise found
                yield found
            elif header is None:
                header = _header(found, separator, origin)
            elif len(found) != len(header):
                yield DataError("data.csv-cells", where=origin, expected=len(header), found=len(found))
            else:
                yield origin, {key: cell for key, cell in zip(header, found, strict=True) if key}


def _records(
    file: BinaryIO, shown: str, max_bytes: int, mark: int, separator: str
) -> Iterator[tuple[Origin, list[str] | DataError]]:
    """Every record with its first line. A line that is no text spoils its record and no other."""
    source = _Lines(file, shown, max_bytes, mark)
    reader = csv.reader(source, delimiter=separator, strict=True)
    while True:
        source.start()
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            reason = "a quote is never closed" if "unexpected end" in str(problem) else str(problem)
            raise DataError("data.broken-csv", where=source.origin, reason=short(reason)) from None
        if source.fault is not None:
            yield source.origin, source.fault
        elif any(cell.strip() for cell in record):
            yield source.origin, record


class _Lines:
    """The lines of one record after the other, as text; what is wrong with one is kept until its record is whole."""

    def __init__(self, file: BinaryIO, shown: str, max_bytes: int, mark: int) -> None:
        self._lines = lines(file, shown, max_bytes, mark)
        self._shown = shown
        self._limit = max_bytes
        self.start()

    def start(self) -> None:
        self._bytes = 0
        self.origin = Origin(self._shown, 1)
        self.fault: DataError | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        number, offset, line = next(self._lines)
        if not self._bytes:
            self.origin = Origin(self._shown, number)
        self._bytes += len(line)
        if self._bytes > self._limit:
            raise too_large(self.origin, self._limit)
        text = text_of(line, Origin(self._shown, number), offset)
        if isinstance(text, str):
            return text
        self.fault = self.fault or text
        return line.decode("utf-8", "replace").replace("\0", "\ufffd")


def _header(cells: list[str], separator: str, origin: Origin) -> list[str]:
    """The keys. The first may be empty: it is the column of row numbers that some programs write."""
    if len(cells) == 1:
        for other, name in ((";", ";"), ("\t", "tab"), (",", ",")):
            if other != separator and other in cells[0]:
                raise DataError("data.csv-separator", where=origin, found=name, expected=_shown(separator))
    for at, cell in enumerate(cells):
        if not cell.strip() and at:
            raise DataError("data.csv-no-name", where=origin, number=at + 1)
        if cell in cells[:at]:
            raise DataError("data.duplicate-key", where=origin, key=short(cell))
    return ["" if not cell.strip() else cell for cell in cells]


def _shown(separator: str) -> str:
    return "tab" if separator == "\t" else separator
