"""A data file, cleaned into another one by the rules that were asked for; or what each of them would find.

In: paths and `Rules`. Out: the new file, whole or absent; a report of every row that was changed or left out; the
counts. The file that is read is never written to. Rows are streamed: only digests of them are held. Nothing is
dropped that nobody asked for: with no rule at all, `survey` tells what there is to find. No printing, no torch.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from llama_factory import storage
from llama_factory.data import cleaning
from llama_factory.data.building import KEYS_KEPT
from llama_factory.data.cleaning import Judge, Mender, Row, Rules
from llama_factory.data.reading import check_file, read_rows
from llama_factory.data.rowfile import check_name, sink
from llama_factory.data.words import listed
from llama_factory.errors import DataError, InputError, LlamaFactoryError, nearest

LANGUAGES_OF = 2_000
"""Rows of which `survey` tells the language: a millisecond each."""

OnBadRow = Literal["error", "skip"]
Progress = Callable[[int], None]

BAD = "bad-row"
"""The rule by which rows go that cannot be read, with `on_bad_row: skip`."""

NEARLY = 0.8
"""The likeness above which `survey` and a bare `--near-duplicates` call two texts nearly the same."""


@dataclass
class Cleaned:
    """read = kept + all that is in `dropped`. changed: kept rows, by what changed them.

    firsts: for every rule, the first place where it met a row. emptied: kept rows that lost a whole text to a change.
    """

    read: int = 0
    kept: int = 0
    rows_changed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    emptied: int = 0
    firsts: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "kept": self.kept,
            "rows_changed": self.rows_changed,
            "dropped": dict(self.dropped),
            "changed": dict(self.changed),
            "emptied": self.emptied,
        }


def clean(
    source: Path,
    target: Path | None,
    rules: Rules,
    *,
    against: tuple[Path, ...] = (),
    report: Path | None = None,
    on_bad_row: OnBadRow = "error",
    overwrite: bool = False,
    progress: Progress = lambda rows: None,
) -> Cleaned:
    """target None: nothing but the report is written. Raises what is wrong before anything is written."""
    _refuse(source, target, report, against, overwrite)
    judge = Judge(rules)
    for file in against:
        judge.forbid(_usable(_rows(file)))
    work = _Work(source, Mender(rules), judge, on_bad_row, progress, rules.fields)
    if report is None:
        _into(target, work, lambda entry: None, overwrite)
    else:
        storage.write_stream(report, lambda file: _reported(file, source, target, work, overwrite), replace=overwrite)
    return work.found


def _into(target: Path | None, work: _Work, tell: Callable[[dict[str, Any]], None], overwrite: bool) -> None:
    if target is None:
        for _ in work.rows(tell):
            pass
        return
    name = target

    def write(file: BinaryIO) -> None:
        out = sink(name, file)
        for where, row in work.rows(tell):
            out.write(row, where)
        out.end()
        if not work.found.kept:
            raise DataError("apps.clean-nothing-left", where=work.source, read=work.found.read)

    storage.write_stream(target, write, replace=overwrite)


def _reported(file: BinaryIO, source: Path, target: Path | None, work: _Work, overwrite: bool) -> None:
    """One JSON object whose rows are written as they are met."""
    head = json.dumps({"in": str(source), "out": str(target) if target else None}, ensure_ascii=False)
    file.write(head[:-1].encode() + b', "rows": [')
    before = b"\n"

    def tell(entry: dict[str, Any]) -> None:
        nonlocal before
        file.write(before + json.dumps(entry, ensure_ascii=False).encode())
        before = b",\n"

    _into(target, work, tell, overwrite)
    file.write(b"\n], " + json.dumps(work.found.as_json(), ensure_ascii=False)[1:].encode() + b"\n")


@dataclass
class _Work:
    """One pass over the file."""

    source: Path
    mender: Mender
    judge: Judge
    on_bad_row: OnBadRow
    progress: Progress
    fields: tuple[str, ...] = ()
    found: Cleaned = field(default_factory=Cleaned)

    def rows(self, tell: Callable[[dict[str, Any]], None]) -> Iterator[tuple[str, Row]]:
        """The rows that stay. `tell` hears of every other one, and of those that were changed."""
        unseen = set(self.fields)
        keys: set[str] = set()
        for row in _rows(self.source):
            self.found.read += 1
            self.progress(self.found.read)
            if isinstance(row, DataError):
                self._bad(row, tell)
                continue
            if unseen:
                unseen.difference_update(row[1])
                keys.update(row[1] if len(keys) < KEYS_KEPT else ())
            where, before = str(row[0]), row[1]
            after, changes = self.mender.mend(before, where)
            dropped = self.judge.judge(after, where)
            if dropped is not None:
                self._count(self.found.dropped, dropped.rule, where)
                facts = {"why": dropped.why, "like": dropped.like}
                tell({"where": where, "rule": dropped.rule, **{key: said for key, said in facts.items() if said}})
                continue
            if changes:
                self._changed(where, before, after, changes, tell)
            self.found.kept += 1
            yield where, after
        if unseen:
            name = min(unseen)
            near = nearest(name, keys)
            raise InputError("apps.clean-field", where=self.source, field=name, keys=listed(sorted(keys)), near=near)

    def _bad(self, error: DataError, tell: Callable[[dict[str, Any]], None]) -> None:
        if self.on_bad_row == "error":
            raise error
        self._count(self.found.dropped, BAD, error.where)
        tell({"where": error.where, "rule": BAD, "why": error.letter("en").splitlines()[0]})

    def _changed(
        self, where: str, before: Row, after: Row, changes: tuple[str, ...], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.found.rows_changed += 1
        for name in changes:
            self._count(self.found.changed, name, where)
        pairs = zip(cleaning.texts(before), cleaning.texts(after), strict=True)
        if any(one.strip() and not other.strip() for one, other in pairs):
            self.found.emptied += 1
            self.found.firsts.setdefault("emptied", where)
        tell({"where": where, "changed": list(changes)})

    def _count(self, counter: Counter[str], rule: str, where: str) -> None:
        counter[rule] += 1
        self.found.firsts.setdefault(rule, where)


# --- what there is to find ------------------------------------------------------------------------------------


@dataclass
class Survey:
    """What rules would find, each by itself; `near` and `languages` are None where their library is not there.

    characters: p50, p95, longest of a row's texts together. languages: of the first rows, the most frequent ones.
    """

    read: int = 0
    bad: int = 0
    duplicates: int = 0
    near: int | None = 0
    whitespace: int = 0
    unicode: int = 0
    characters: tuple[int, int, int] = (0, 0, 0)
    languages: dict[str, int] | None = None
    firsts: dict[str, str] = field(default_factory=dict)


def survey(source: Path, *, progress: Progress = lambda rows: None) -> Survey:
    """One pass that changes and writes nothing."""
    import numpy as np

    _refuse(source, None, None, (), overwrite=False)
    found = Survey(near=0)
    same = Judge(Rules(duplicates=True))
    alike = _or_none(lambda: cleaning.Near(NEARLY))
    language_of = _or_none(cleaning.language_teller)
    menders = {
        "whitespace": Mender(Rules(whitespace=True)),
        "unicode": Mender(Rules(unicode="nfc")),
    }
    lengths: list[int] = []
    counts: Counter[str] = Counter()
    for row in _rows(source):
        found.read += 1
        progress(found.read)
        if isinstance(row, DataError):
            found.bad += 1
            found.firsts.setdefault(BAD, row.where)
            continue
        where, value = str(row[0]), row[1]
        text = cleaning.joined(cleaning.texts(value))
        met = {
            "duplicates": bool(same.judge(value, where)),
            **{name: bool(mender.mend(value, where)[1]) for name, mender in menders.items()},
        }
        if alike and not met["duplicates"]:
            met["near"] = bool(alike.like_or_add(text, where))
        for name in (name for name, hit in met.items() if hit):
            setattr(found, name, getattr(found, name) + 1)
            found.firsts.setdefault(name, where)
        lengths.append(len(text))
        if language_of and sum(counts.values()) < LANGUAGES_OF and cleaning.tells(text):
            counts[language_of(text)] += 1
    if lengths:
        p50, p95, longest = (int(one) for one in np.percentile(lengths, [50, 95, 100], method="higher"))
        found.characters = (p50, p95, longest)
    found.languages = dict(counts.most_common(8)) if language_of else None
    return found if alike else replace(found, near=None)


def _or_none(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except LlamaFactoryError:
        return None


# --- files ----------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[Any]:
    with closing(read_rows(path, str(path))) as rows:
        yield from rows


def _usable(rows: Iterator[Any]) -> Iterator[tuple[object, Row]]:
    for row in rows:
        if isinstance(row, DataError):
            raise row
        yield row


def _refuse(source: Path, target: Path | None, report: Path | None, against: tuple[Path, ...], overwrite: bool) -> None:
    """What can be known to be wrong before a row is read."""
    for file in (source, *against):
        if file.is_dir():
            raise InputError("apps.clean-folder", where=file)
        check_file(file, str(file))
    read = [file.resolve() for file in (source, *against)]
    for out in (target, report):
        if out is None:
            continue
        if out.resolve() in read or (out.exists() and any(out.samefile(file) for file in read)):
            raise InputError("apps.in-place", where=out)
        if out.is_dir() or (out.exists() and not overwrite):
            raise InputError("apps.file-there", where=out)
    if target is not None:
        check_name(target)
        if report is not None and report.resolve() == target.resolve():
            raise InputError("apps.in-place", where=report)
