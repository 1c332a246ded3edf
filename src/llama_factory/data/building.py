"""One data set's file -> one folder of rendered rows, read once, in chunks.

In: an `Entry`, a renderer, the options that shape rows. Out: a filled folder and an `Account` of what was
found. Memory holds one chunk of rows, whatever the size of the file. It deliberately knows no cache and no
key: `data.caching` decides whether this runs at all.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from llama_factory.data import sources
from llama_factory.data.blocks import blocks
from llama_factory.data.fitting import Fitting, fit, learns, trained
from llama_factory.data.formats import SAMPLE, Converter, choose, expect
from llama_factory.data.learning import Learned, learner
from llama_factory.data.reading import Row
from llama_factory.data.registry import Entry, bad_column
from llama_factory.data.summary import LISTED, Account, as_finding
from llama_factory.data.thoughts import faults
from llama_factory.data.words import listed, short
from llama_factory.data.writing import PartWriter
from llama_factory.errors import DataError, LlamaFactoryError, OurFault, SeveralErrors, StartAgain
from llama_factory.records import Conversation, Finding, Rendered, Text

CHUNK_ROWS = 512
ERRORS_SHOWN = 5
ROWS_READ_ON = 100_000
"""After a bad row that stops the run: how many more rows are looked at, to name several at once."""

ALLOCATIONS_BETWEEN = 50_000
"""Objects made between two looks for cycles while a file is read; Python's own number is some hundred."""

KEYS_KEPT = 1000
"""A file may use its keys as values; more than so many different ones are not remembered."""

BAD_LEAD = 10_000
"""A file that starts with so many bad rows holds something else, whatever `on_bad_row` says."""

MOST_MESSAGES = 2**15 - 1
"""The arrays name a token's message by a number of 16 bits."""

PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][A-Za-z0-9_.]*\s*\}\}")


class Renders(Protocol):
    """The part of `render.Renderer` that this room needs."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def encoder(self) -> str: ...

    def announce(self, size: int) -> None: ...

    def render(self, conversation: Conversation) -> Rendered: ...

    def render_texts(self, texts: Sequence[Text]) -> Sequence[Rendered | LlamaFactoryError]: ...

    def render_many(
        self, conversations: Sequence[Conversation]
    ) -> Sequence[Sequence[tuple[Conversation, Rendered]] | LlamaFactoryError]: ...


Learnable = Conversation | Text


class Takes(Protocol):
    """Where rendered rows go: onto the disk, or into a list where only a few are looked at."""

    def append(self, rows: Sequence[Rendered]) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """What shapes the rows beside the file, the registry and the renderer; `on_bad_row` only stops or not.

    learned: what of a row has a weight. stage: which kind of record is learned from.
    """

    cutoff_len: int
    fitting: Fitting
    max_samples: int | None
    on_bad_row: Literal["error", "skip"]
    learned: Learned = "answers"
    stage: str = "sft"


@dataclass(slots=True)
class Tally:
    """Counts and findings while a file is read."""

    read: int = 0
    bad: int = 0
    too_long: int = 0
    lost: int = 0
    shortened: int = 0
    longest: int = 0
    bad_rows: list[LlamaFactoryError] = field(default_factory=list)
    long_rows: list[Finding] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    placeholders: int = 0
    first_placeholder: Finding | None = None
    several: int = 0
    first_several: Finding | None = None
    odd_thoughts: int = 0
    first_odd_thought: Finding | None = None


def build(
    entry: Entry,
    renderer: Renders,
    options: Options,
    folder: Path,
    key: Mapping[str, Any],
    progress: Callable[[int], None],
) -> None:
    """Fill `folder`; `meta.json` holds the file's name, the key and the account."""
    renderer.announce(sum(file.path.stat().st_size for file in entry.files))
    notes: tuple[Finding, ...] = ()
    while True:
        try:
            with closing(rows_of(entry, options)) as rows, rare_collections():
                return _build(rows, entry, renderer, options, folder, key, progress, notes)
        except StartAgain as found:
            notes = (Finding(found.id, "note", entry.shown, found.values),)


def _build(
    rows: Iterator[Row | DataError],
    entry: Entry,
    renderer: Renders,
    options: Options,
    folder: Path,
    key: Mapping[str, Any],
    progress: Callable[[int], None],
    notes: tuple[Finding, ...],
) -> None:
    sample = first_rows(rows, entry, options)
    converter = choose(entry, [row for row in sample if not isinstance(row, DataError)])
    tally = Tally()
    with PartWriter(folder, [file.shown for file in entry.files]) as writer:
        for chunk in chunks(chain(sample, rows), converter, options, tally):
            render_chunk(chunk, renderer, options, tally, writer)
            progress(tally.read)
            if options.on_bad_row == "error" and tally.bad:
                break
        if options.on_bad_row == "error" and tally.bad:
            raise several(tally.bad_rows, tally.bad)
        _refuse_unseen_columns(entry, converter, tally)
        if writer.rows == 0:
            raise _nothing_left(entry, options, read=tally.read, bad=tally.bad, lost=tally.lost, longest=tally.longest)
        account = _account(entry, converter, options, tally, writer.rows)
        account = replace(account, notes=(*notes, *account.notes))
        writer.finish({"file": entry.shown, "key": dict(key), "account": account.as_json()})


def build_piece(
    rows: Sequence[Row | DataError],
    converter: Converter,
    entry: Entry,
    renderer: Renders,
    options: Options,
    folder: Path,
) -> Account:
    """Fill `folder` with some rows of a data set; where none of them is kept, it is not to be opened."""
    while True:
        try:
            return _build_piece(rows, converter, entry, renderer, options, folder)
        except StartAgain:  # a faster way was found to differ, and is off from now on
            for file in folder.iterdir():
                file.unlink()


def _build_piece(
    rows: Sequence[Row | DataError],
    converter: Converter,
    entry: Entry,
    renderer: Renders,
    options: Options,
    folder: Path,
) -> Account:
    tally = Tally()
    with PartWriter(folder, [file.shown for file in entry.files]) as writer:
        for chunk in chunks(iter(rows), converter, options, tally):
            render_chunk(chunk, renderer, options, tally, writer)
        if options.on_bad_row == "error" and tally.bad:
            raise several(tally.bad_rows, tally.bad)
        account = _account(entry, converter, options, tally, writer.rows)
        if writer.rows:
            writer.finish({"file": entry.shown, "key": {}, "account": account.as_json()})
    return account


@contextmanager
def rare_collections() -> Iterator[None]:
    """Rows hold no cycles, and looking for some in what was just made takes a fifth of the time: look less often."""
    usual = gc.get_threshold()
    gc.set_threshold(max(usual[0], ALLOCATIONS_BETWEEN), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def rows_of(entry: Entry, options: Options) -> Generator[Row | DataError, None, None]:
    """The rows of a data set that the run takes, in order. Closing it closes the file."""
    with closing(sources.rows(entry)) as rows:
        yield from islice(rows, options.max_samples)


def several(errors: Sequence[LlamaFactoryError], count: int) -> LlamaFactoryError:
    """One letter for one bad row; for more, the first few and how many were seen."""
    if count == 1:
        return errors[0]
    shown = list(errors[:ERRORS_SHOWN])
    if count > len(shown):
        shown.append(DataError("data.more-bad-rows", count=count - len(shown)))
    return SeveralErrors(shown)


def first_rows(rows: Iterator[Row | DataError], entry: Entry, options: Options) -> list[Row | DataError]:
    """The first rows, by which the format is recognised; at least one of them can be read."""
    sample = list(islice(rows, SAMPLE))
    while all(isinstance(row, DataError) for row in sample):
        bad = [row for row in sample if isinstance(row, DataError)]
        more = list(islice(rows, SAMPLE)) if options.on_bad_row == "skip" and len(bad) < BAD_LEAD else []
        if not bad:
            raise DataError("data.no-rows", where=entry.shown)
        if not more and options.on_bad_row == "error":
            raise several(bad, len(bad))
        if not more:
            raise _nothing_left(entry, options, read=len(bad), bad=len(bad))
        sample += more
    return sample


def _nothing_left(entry: Entry, options: Options, *, read: int, bad: int, lost: int = 0, longest: int = 0) -> DataError:
    limit = options.cutoff_len
    return DataError(
        "data.no-rows-left", where=entry.shown, read=read, bad=bad, long=lost, longest=longest, limit=limit
    )


def chunks(
    rows: Iterator[Row | DataError], converter: Converter, options: Options, tally: Tally
) -> Iterator[list[Learnable]]:
    """What is learned from, some hundred at a time. Once a bad row has stopped the run, rows are only looked at."""
    chunk: list[Learnable] = []
    stopped_at = 0
    for row in rows:
        tally.read += 1
        try:
            if isinstance(row, DataError):
                raise row
            tally.keys.update(row[1] if len(tally.keys) < KEYS_KEPT else row[1].keys() & converter.named.values())
            record = converter.convert(row[1], row[0])
            expect(record, options.stage)
            learned = cast(Learnable, record)
            if isinstance(learned, Conversation) and len(learned.messages) > MOST_MESSAGES:
                raise DataError("data.too-many-messages", where=row[0], count=len(learned.messages))
        except DataError as error:
            _bad(error, tally)
            stopped_at = stopped_at or tally.read
        else:
            if not (stopped_at and options.on_bad_row == "error"):
                if isinstance(learned, Conversation):
                    _look_for_placeholders(learned, tally)
                    _look_for_odd_thoughts(learned, tally)
                chunk.append(learned)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
        if options.on_bad_row == "error" and stopped_at:
            chunk = []
            if tally.bad >= ERRORS_SHOWN or tally.read - stopped_at >= ROWS_READ_ON:
                return
    yield chunk


def render_chunk(chunk: Sequence[Learnable], renderer: Renders, options: Options, tally: Tally, writer: Takes) -> None:
    """A chunk is of one kind, that of the stage."""
    if texts := [one for one in chunk if isinstance(one, Text)]:
        writer.append(_blocks(texts, renderer, options, tally))
    if talks := [one for one in chunk if isinstance(one, Conversation)]:
        writer.append(_answers(talks, renderer, options, tally))


def _blocks(texts: Sequence[Text], renderer: Renders, options: Options, tally: Tally) -> list[Rendered]:
    """Texts lose nothing: a long one is several rows."""
    rows: list[Rendered] = []
    for result in renderer.render_texts(texts):
        if isinstance(result, LlamaFactoryError):
            _bad(result, tally)
        else:
            rows += [row for row in blocks(result, options.cutoff_len) if trained(row) > 0]
    return rows


def _answers(talks: Sequence[Conversation], renderer: Renders, options: Options, tally: Tally) -> list[Rendered]:
    rows: list[Rendered] = []
    renderer = learner(renderer, options.learned)
    results = renderer.render_many(talks)
    if len(results) != len(talks):
        raise OurFault("data.renderer-count", expected=len(talks), found=len(results))
    for conversation, result in zip(talks, results, strict=True):
        try:
            if isinstance(result, LlamaFactoryError):
                raise result
            if not any(learns(rendered) for _, rendered in result):
                raise DataError("data.nothing-to-learn", where=conversation.origin)
            if len(result) > 1:
                tally.several += 1
                tally.first_several = tally.first_several or _several_from(conversation, len(result))
            long = max(rendered.ids_T.size for _, rendered in result) > options.cutoff_len
            rows += _fitted(result, renderer, options, tally) if long else [rendered for _, rendered in result]
        except LlamaFactoryError as error:
            _bad(error, tally)
    return rows


def _several_from(conversation: Conversation, rows: int) -> Finding:
    values = {"rows": rows}  # how many records there are such is known at the end
    return Finding("data.several-from-one", "note", str(conversation.origin), values)


def _fitted(
    examples: Sequence[tuple[Conversation, Rendered]], renderer: Renders, options: Options, tally: Tally
) -> Sequence[Rendered]:
    """The examples of one record that has too long ones: counted once, whatever becomes of each."""
    rows: list[Rendered] = []
    longest, lost = 0, False
    for conversation, rendered in examples:
        length = int(rendered.ids_T.size)
        longest = max(longest, length)
        if length <= options.cutoff_len:
            rows.append(rendered)
            continue
        fitted = fit(options.fitting, conversation, rendered, renderer.render, options.cutoff_len)
        rows += fitted.rows
        lost |= fitted.lost
    tally.too_long += 1
    tally.longest = max(tally.longest, longest)
    tally.lost += not rows
    tally.shortened += bool(rows) and lost
    if len(tally.long_rows) < LISTED:
        values = {"length": longest, "limit": options.cutoff_len}
        tally.long_rows.append(Finding("data.too-long-row", "warning", str(examples[0][0].origin), values))
    return rows


def _bad(error: LlamaFactoryError, tally: Tally) -> None:
    tally.bad += 1
    if len(tally.bad_rows) < LISTED:
        tally.bad_rows.append(error)


def _look_for_placeholders(conversation: Conversation, tally: Tally) -> None:
    for message in conversation.messages:
        if "{{" in message.content and (found := PLACEHOLDER.search(message.content)):
            tally.placeholders += 1
            if tally.first_placeholder is None:
                values = {"text": short(found.group())}
                tally.first_placeholder = Finding("data.placeholder", "warning", str(conversation.origin), values)
            return


def _look_for_odd_thoughts(conversation: Conversation, tally: Tally) -> None:
    for message in conversation.messages:
        if message.role == "assistant" and (marks := faults(message.content) or faults(message.reasoning or "")):
            tally.odd_thoughts += 1
            if tally.first_odd_thought is None:
                values = {"marks": " ".join(marks)}
                tally.first_odd_thought = Finding("data.thought-marks", "warning", str(conversation.origin), values)
            return


def _refuse_unseen_columns(entry: Entry, converter: Converter, tally: Tally) -> None:
    for role, column in converter.named.items():
        if column not in tally.keys and tally.keys:
            raise bad_column(entry, role, column, tally.keys)


def _account(entry: Entry, converter: Converter, options: Options, tally: Tally, kept: int) -> Account:
    notes = list(entry.notes)
    if entry.num_samples is not None and tally.read < min(entry.num_samples, options.max_samples or tally.read + 1):
        values = {"wanted": entry.num_samples, "found": tally.read}
        notes.append(Finding("data.fewer-samples", "note", entry.shown, values))
    seen = (
        (tally.first_placeholder, tally.placeholders),
        (tally.first_odd_thought, tally.odd_thoughts),
        (tally.first_several, tally.several),
    )
    for first, count in seen:
        if first is not None:
            notes.append(Finding(first.id, first.severity, first.where, {**first.values, "count": count}))
    unread = sorted(tally.keys - converter.read)
    if unread:
        notes.append(Finding("data.keys-not-read", "note", entry.shown, {"keys": listed(unread)}))
    return Account(
        file=entry.shown,
        format=converter.said,
        read=tally.read,
        kept=kept,
        bad=tally.bad,
        too_long=tally.too_long,
        lost=tally.lost,
        shortened=tally.shortened,
        longest=tally.longest,
        bad_rows=tuple(as_finding(error) for error in tally.bad_rows),
        long_rows=tuple(tally.long_rows),
        notes=tuple(notes),
    )
