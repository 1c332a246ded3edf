"""Single rows of a data set, taken exactly the way in which `building` takes all of them.

In: an `Entry`, a renderer, the options of a run. Out: rows as they stand in the file, and for each what training
would get of it: rendered rows, the whole row where it is too long, or the letter that refuses it. Only the rows
that are looked at are held. It deliberately decides nothing: every step is a function of `building`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from llama_factory.data.building import (
    CHUNK_ROWS,
    Learnable,
    Options,
    Renders,
    Tally,
    chunks,
    first_rows,
    render_chunk,
    rows_of,
)
from llama_factory.data.formats import choose
from llama_factory.data.reading import Row
from llama_factory.data.registry import Entry
from llama_factory.errors import DataError, LlamaFactoryError
from llama_factory.records import Conversation, Rendered

ENDLESS = 2**31 - 1
"""A limit that no row reaches: the whole row, before it is made to fit."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One row of a file. `rows`: what training gets, perhaps nothing; `whole`: the same before it was made to fit.

    roles: of the messages that `whole` counts; a row that was cut into several counts its own.
    """

    where: str
    rows: tuple[Rendered, ...]
    whole: tuple[Rendered, ...]
    roles: tuple[str, ...] = ()
    error: LlamaFactoryError | None = None

    @property
    def longest(self) -> int:
        return max((int(row.ids_T.size) for row in self.whole), default=0)

    @property
    def too_long(self) -> bool:
        return self.error is None and self.rows != self.whole


class Desk:
    """One data set, its format recognised."""

    def __init__(
        self, entry: Entry, renderer: Renders, options: Options, progress: Callable[[int], None] = lambda rows: None
    ) -> None:
        """progress: hears how many rows were read."""
        self.entry = entry
        self._progress = progress
        self._renderer = renderer
        self._options = replace(options, on_bad_row="skip")
        rows = rows_of(entry, options)
        sample = first_rows(rows, entry, self._options)
        self._converter = choose(entry, [row for row in sample if not isinstance(row, DataError)])
        self._rows = chain(sample, rows)

    def rows(self) -> Iterator[Row | DataError]:
        """Every row, in order; once."""
        for number, row in enumerate(self._rows, 1):
            self._progress(number)
            yield row

    def look(self, row: Row | DataError) -> Looked:
        """What becomes of one row."""
        tally = Tally()
        found = [one for chunk in chunks(iter([row]), self._converter, self._options, tally) for one in chunk]
        whole = self._rendered(found, replace(self._options, cutoff_len=ENDLESS), tally)
        rows = whole
        if any(one.ids_T.size > self._options.cutoff_len for one in whole):
            rows = self._rendered(found, self._options, tally)
        roles = _roles(found[0]) if found else ()
        error = tally.bad_rows[0] if tally.bad_rows else None
        return Looked(place(row), tuple(rows), tuple(whole), roles, error)

    def lengths(self) -> Iterator[tuple[int, Row | DataError]]:
        """Every row behind the tokens of its longest example, before it is made to fit; 0 for a row that is refused."""
        rows = self.rows()
        while batch := list(islice(rows, CHUNK_ROWS)):
            tally = Tally()
            usable = [row for row in batch if not isinstance(row, DataError)]
            longest: dict[str, int] = {}
            for chunk in chunks(iter(usable), self._converter, self._options, tally):
                for one in self._rendered(chunk, replace(self._options, cutoff_len=ENDLESS), tally):
                    at = str(one.origin)
                    longest[at] = max(longest.get(at, 0), int(one.ids_T.size))
            yield from ((longest.get(place(row), 0), row) for row in batch)

    def _rendered(self, found: Sequence[Learnable], options: Options, tally: Tally) -> list[Rendered]:
        rows = _Rows()
        render_chunk(found, self._renderer, options, tally, rows)
        return rows.held


def _roles(record: Learnable) -> tuple[str, ...]:
    return tuple(message.role for message in record.messages) if isinstance(record, Conversation) else ("text",)


class _Rows:
    """Takes rendered rows as a part's writer does, and holds them."""

    def __init__(self) -> None:
        self.held: list[Rendered] = []

    def append(self, rows: Sequence[Rendered]) -> None:
        self.held += rows


def place(row: Row | DataError) -> str:
    """`train.jsonl:812`, of a row that can be read and of one that cannot."""
    return row.where if isinstance(row, DataError) else str(row[0])
