"""A data file of any kind -> its rows, one at a time, each with the place it came from.

In: a path. Out: `(origin, object)` for every row, or a `DataError` in its place when only that row is
unusable and the rest can still be read; whoever iterates decides whether to stop. What spoils the whole
file is raised. Rows are streamed: memory does not grow with the file, packed or not. Which readers there are
is one table, `READERS`, by the kind that the file's name says. It deliberately knows no format of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from llama_factory.data import kinds
from llama_factory.data.arrowfile import arrow_rows
from llama_factory.data.csvfile import csv_rows
from llama_factory.data.jsonfile import json_rows
from llama_factory.data.jsonvalue import type_name
from llama_factory.data.kinds import Kind
from llama_factory.data.lines import Found
from llama_factory.data.textfile import text_rows
from llama_factory.data.words import hint
from llama_factory.errors import DataError
from llama_factory.records import Origin

__all__ = ["MAX_ROW_BYTES", "READERS", "Row", "check_file", "read_rows", "type_name"]

Row = tuple[Origin, dict[str, Any]]

MAX_ROW_BYTES = 64 * 2**20

READERS: Mapping[Kind, Callable[[Path, str, int], Found]] = {
    "json": json_rows,
    "csv": csv_rows,
    "parquet": arrow_rows,
    "arrow": arrow_rows,
    "txt": text_rows,
}


def read_rows(path: Path, shown: str) -> Generator[Row | DataError, None, None]:
    """All rows of a file; `shown` is its name in every message. A name that says no kind is read as JSON."""
    named = kinds.named(path.name)
    try:
        with closing(READERS[named.kind if named else "json"](path, shown, MAX_ROW_BYTES)) as rows:
            for found in rows:
                if isinstance(found, DataError):
                    yield found
                elif isinstance(found[1], dict):
                    yield found[0], found[1]
                else:
                    yield DataError("data.not-an-object", where=found[0], found=type_name(found[1]))
    except kinds.Damaged as problem:
        raise DataError("data.damaged-packing", where=shown, reason=str(problem)) from problem
    except OSError as problem:
        raise DataError("data.unreadable", where=shown, reason=problem.strerror or str(problem)) from problem


def check_file(path: Path, shown: str) -> None:
    """The file is there and of a kind that can be read; what is in it is not looked at."""
    if not path.exists():
        beside = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError("data.no-file", where=shown, hint=hint(path.name, sorted(beside)))
    if kinds.named(path.name) is None:
        raise DataError("data.file-type", where=shown, suffix=path.suffix or path.name, known=", ".join(kinds.KINDS))
