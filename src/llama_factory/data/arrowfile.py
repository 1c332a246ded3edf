"""A parquet or arrow file -> its rows, some hundred at a time, as the plain values that JSON knows.

In: a path. Out: `(origin, row)` numbered from 1. Parquet is read page by page and arrow through a memory map, so
memory does not grow with the file. What JSON does not know becomes what a person would write: times in ISO
form, decimals as their digits, NaN (which is how tables write "nothing") as null. Bytes stay bytes, which no
format takes for text. It deliberately reads no column twice and infers no types: the file says them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llama_factory.data import kinds
from llama_factory.data.jsonvalue import Json, strings
from llama_factory.data.lines import Found, too_large
from llama_factory.data.words import short
from llama_factory.errors import DataError
from llama_factory.records import Origin

if TYPE_CHECKING:
    import pyarrow

ROWS = 256
PAGE_BUFFER_BYTES = 2**20
FILE_MAGIC = b"ARROW1"


def arrow_rows(path: Path, shown: str, max_bytes: int) -> Found:
    """All rows, of either kind of file; an arrow file may be a file or a stream."""
    pyarrow = _pyarrow()
    named = kinds.named(path.name)
    with kinds.seekable(path) as file:
        if not file.read(1):
            raise DataError("data.empty-file", where=shown)
        file.seek(0)
        try:
            open_file = _parquet if named is not None and named.kind == "parquet" else _arrow
            schema, batches = open_file(file, path if not (named and named.packed) else None)
            _refuse_repeated(schema, shown)
            number = 0
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS):
                    for found in _values(batch.slice(start, ROWS), shown, number, max_bytes):
                        number += 1
                        yield found
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as problem:
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise DataError("data.damaged-table", where=shown, reason=short(reason, 120)) from problem


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise kinds.need("pyarrow") from error
    return pyarrow


Batches = Iterator["pyarrow.RecordBatch"]


def _parquet(file: BinaryIO, path: Path | None) -> tuple[pyarrow.Schema, Batches]:
    from pyarrow import parquet

    opened = parquet.ParquetFile(file, buffer_size=PAGE_BUFFER_BYTES, pre_buffer=False)
    return opened.schema_arrow, opened.iter_batches(batch_size=ROWS, use_threads=False)


def _arrow(file: BinaryIO, path: Path | None) -> tuple[pyarrow.Schema, Batches]:
    import pyarrow

    magic = file.read(len(FILE_MAGIC))
    file.seek(0)
    source = pyarrow.memory_map(str(path)) if path is not None else pyarrow.PythonFile(file)
    if magic == FILE_MAGIC:
        table = pyarrow.ipc.open_file(source)
        return table.schema, (table.get_batch(at) for at in range(table.num_record_batches))
    stream = pyarrow.ipc.open_stream(source)
    return stream.schema, iter(stream)


def _refuse_repeated(schema: pyarrow.Schema, shown: str) -> None:
    """Two columns of one name: only one of them could be read. Structures are looked into."""
    waiting = [list(schema)]
    while waiting:
        fields = waiting.pop()
        names = [field.name for field in fields]
        for field in fields:
            if names.count(field.name) > 1:
                raise DataError("data.duplicate-key", where=shown, key=short(field.name))
            kind = field.type
            while hasattr(kind, "value_type"):  # lists, and dictionaries of words
                kind = kind.value_type
            if str(kind).startswith("struct"):
                waiting.append([kind.field(at) for at in range(kind.num_fields)])


def _values(
    batch: pyarrow.RecordBatch, shown: str, before: int, max_bytes: int
) -> Iterator[tuple[Origin, Json] | DataError]:
    """before: how many rows of the file came earlier. Where a text is not UTF-8, rows are taken one by one.

    The library trusts the offsets inside of a file and would read outside of its memory where they are wrong:
    nothing is taken out of a batch before it has been looked through.
    """
    rows = _checked(batch)
    if rows is None:
        alone = [_checked(batch.slice(at, 1)) for at in range(batch.num_rows)]
        rows = [row[0] if row else None for row in alone]
    for at, row in enumerate(rows, 1):
        origin = Origin(shown, before + at)
        yield DataError("data.table-not-utf8", where=origin) if row is None else _value(row, origin, max_bytes)


def _checked(batch: pyarrow.RecordBatch) -> list[Any] | None:
    """Plain rows, or None where some text is not UTF-8. What else is wrong with a batch spoils the file."""
    try:
        batch.validate(full=True)
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return None
    except ValueError as problem:
        if "UTF8" in str(problem):
            return None
        raise


def _value(row: dict[str, Any], origin: Origin, max_bytes: int) -> tuple[Origin, Json] | DataError:
    value = _plain(row)
    size = 0
    for string in strings(value):
        size += len(string)
        if "\0" in string:
            return DataError("data.nul-escape", where=origin)
    if size > max_bytes:
        raise too_large(origin, max_bytes)
    return origin, value


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, bytes)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {str(key): _plain(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inside) for inside in value]
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
