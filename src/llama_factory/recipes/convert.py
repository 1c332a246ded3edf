"""A data set of any recognised form into a file of another form, row by row, nothing lost in silence.

In: a file or a name of dataset_info.json, the file to write, the name of a format. Out: the new file, whole or absent;
what was read and written; an entry of dataset_info.json for the result, which is added to one when asked for. Each row
is read back before it is written (`data.outward`); what the format has no place for is refused with its place. Rows
are streamed. No printing, no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

from llama_factory import storage
from llama_factory.data.building import KEYS_KEPT, Options, first_rows, rows_of
from llama_factory.data.formats import Converter, choose
from llama_factory.data.outward import FORMATS, as_row
from llama_factory.data.reading import Row
from llama_factory.data.registry import REGISTRY, Entry, find, names
from llama_factory.data.rowfile import check_name, sink
from llama_factory.data.sources import fetch
from llama_factory.data.summary import LISTED
from llama_factory.data.words import listed
from llama_factory.errors import DataError, InputError, nearest
from llama_factory.records import Conversation, Finding, Labelled, Message, Preference, Record

Progress = Callable[[int], None]

SPARE: Mapping[str, tuple[str, ...]] = {"alpaca": ("system",)}
"""Columns that only some rows have, which a table needs from its first line on."""


@dataclass
class Converted:
    """read = written + bad. said: the format that was recognised. entry: of dataset_info.json, for the result.

    bad_rows: the letters of the first rows that were left out. notes: what else a person should know.
    """

    said: str = ""
    read: int = 0
    written: int = 0
    bad: int = 0
    kind: type[Record] | None = None
    bad_rows: list[DataError] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    entry: dict[str, Any] = field(default_factory=dict)


def convert(
    source: str,
    target: Path,
    to: str,
    *,
    cache: Path,
    dataset_dir: str = "data",
    system: str = "",
    on_bad_row: Literal["error", "skip"] = "error",
    overwrite: bool = False,
    register: str = "",
    progress: Progress = lambda rows: None,
) -> Converted:
    """system: put before dialogues that have no system text. register: the name under which the result is entered.

    cache: where data sets of a hub are kept.

    Raises what is wrong with the words before a row is read.
    """
    if to not in FORMATS:
        raise InputError("apps.convert-format", found=to, known=", ".join(FORMATS), near=nearest(to, FORMATS))
    check_name(target)
    entry = fetch(find(source, dataset_dir), cache)
    _refuse(entry, target, overwrite)
    if register:
        _refuse_name(register, dataset_dir, overwrite)
    work = _Work(entry, to, system, on_bad_row, progress)

    def write(file: BinaryIO) -> None:
        out = sink(target, file, spare=SPARE.get(to, ()))
        for row, where in work.rows():
            out.write(row, where)
        out.end()

    storage.write_stream(target, write, replace=overwrite)
    found = work.found
    found.entry = entry_of(target, to, found.kind, Path(dataset_dir))
    if register:
        _register(register, found.entry, Path(dataset_dir))
    return found


def entry_of(target: Path, to: str, kind: type[Record] | None, folder: Path) -> dict[str, Any]:
    """What the dataset_info.json in `folder` says about a file that was written in this format."""
    entry: dict[str, Any] = {"file_name": os.path.relpath(target.resolve(), folder.resolve()), **ENTRIES[to]}
    if kind is Preference:
        entry["ranking"] = True
    return entry


ENTRIES: Mapping[str, Mapping[str, Any]] = {
    "alpaca": {"formatting": "alpaca"},
    "sharegpt": {"formatting": "sharegpt"},
    "openai": {"formatting": "openai"},
    "prompt_response": {"columns": {"prompt": "prompt", "response": "response"}},
    "text": {"columns": {"prompt": "text"}},
    "classification": {},
}


@dataclass
class _Work:
    """One pass over the data set."""

    entry: Entry
    to: str
    system: str
    on_bad_row: Literal["error", "skip"]
    progress: Progress
    found: Converted = field(default_factory=Converted)

    def rows(self) -> Iterator[tuple[Mapping[str, Any], object]]:
        options = Options(cutoff_len=1, fitting="drop", max_samples=None, on_bad_row=self.on_bad_row)
        keys: set[str] = set()
        with closing(rows_of(self.entry, options)) as rows:
            sample = first_rows(rows, self.entry, options)
            converter = choose(self.entry, [row for row in sample if not isinstance(row, DataError)])
            self.found.said = converter.said
            for row in chain(sample, rows):
                self.found.read += 1
                self.progress(self.found.read)
                try:
                    done = self._row(row, converter)
                except DataError as error:
                    self._bad(error)
                    continue
                if not isinstance(row, DataError) and len(keys) < KEYS_KEPT:
                    keys.update(row[1])
                self.found.written += 1
                yield done
        if not self.found.written:
            read, where = self.found.read, self.found.bad_rows[0].where
            raise DataError("apps.convert-nothing", where=self.entry.shown, read=read, first=where)
        if unread := sorted(keys - converter.read):
            said = Finding("apps.convert-keys", "warning", self.entry.shown, {"keys": listed(unread)})
            self.found.notes.append(said)

    def _row(self, row: Row | DataError, converter: Converter) -> tuple[Mapping[str, Any], object]:
        if isinstance(row, DataError):
            raise row
        record = converter.convert(row[1], row[0])
        if self.system:
            record = with_system(record, self.system)
        written = as_row(record, self.to)
        kind = self.found.kind = self.found.kind or type(record)
        if type(record) is not kind:
            raise DataError("apps.convert-mixed", where=row[0], first=kind.__name__, found=type(record).__name__)
        return written, row[0]

    def _bad(self, error: DataError) -> None:
        if self.on_bad_row == "error":
            raise error
        self.found.bad += 1
        if len(self.found.bad_rows) < LISTED:
            self.found.bad_rows.append(error)


def with_system(record: Record, system: str) -> Record:
    """A dialogue without a system text gets this one; other records have none."""
    if isinstance(record, Labelled):
        inner = with_system(record.conversation, system)
        return replace(record, conversation=inner) if isinstance(inner, Conversation) else record
    if isinstance(record, (Conversation, Preference)) and record.messages[0].role != "system":
        return replace(record, messages=(Message("system", system), *record.messages))
    return record


# --- files ----------------------------------------------------------------------------------------------------


def _refuse(entry: Entry, target: Path, overwrite: bool) -> None:
    for file in entry.files:
        if target.resolve() == file.path.resolve() or (target.exists() and target.samefile(file.path)):
            raise InputError("apps.in-place", where=target)
    if target.is_dir() or (target.exists() and not overwrite):
        raise InputError("apps.file-there", where=target)


def _refuse_name(name: str, dataset_dir: str, overwrite: bool) -> None:
    if name in names(dataset_dir) and not overwrite:
        raise InputError("apps.convert-name-taken", where=Path(dataset_dir) / REGISTRY, name=name)


def _register(name: str, entry: Mapping[str, Any], folder: Path) -> None:
    """Every other entry stays as it stands there, in its place."""
    file = folder / REGISTRY
    known = json.loads(file.read_text(encoding="utf-8-sig")) if file.is_file() else {}
    known[name] = dict(entry)
    storage.write_file(file, json.dumps(known, ensure_ascii=False, indent=2) + "\n")
