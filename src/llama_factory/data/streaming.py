"""`streaming: true`: rows are read, rendered and shuffled piece by piece, as training comes to them.

In: data sets whose format is known, how they take turns, a seed. Out: `StreamSource`, a source of steps without end. A
shard is the next `buffer_size` records; it is rendered when its turn comes, shuffled in itself, and gone when the next
one comes: memory and disk hold one shard, whatever the size of the files. Which rows a shard has and their order are a
pure function of (files, seed, epoch, shard), so a state is three numbers, and a restore reads up to the shard without
rendering what lies before it. No step crosses the border of two shards, so the last step of a shard may be smaller.
It deliberately keeps nothing for a second run: that is the token store's work. `docs/decisions/0006` says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llama_factory.data.batching import StepSource
from llama_factory.data.building import Options, Renders, build_piece, first_rows, rows_of
from llama_factory.data.formats import Converter, choose
from llama_factory.data.mixing import MIX_STREAM, Strategy
from llama_factory.data.packing import pack
from llama_factory.data.reading import Row
from llama_factory.data.registry import Entry
from llama_factory.data.store import Part, TokenStore
from llama_factory.data.summary import Account
from llama_factory.errors import DataError, InputError
from llama_factory.records import Origin, Step

DRAWN_AT_ONCE = 4096
STATE_KEYS = ("rows_per_step", "seed", "shuffle", "buffer_size", "packs", "kept_back")

Raw = Row | DataError
Records = set[tuple[int, int]]
"""Records by the number of their data set and their number in it."""


@dataclass(frozen=True, slots=True)
class Shard:
    """store: None where no record was kept. set_P: which data set each of its parts is. accounts: of each data set."""

    store: TokenStore | None
    set_P: tuple[int, ...]
    accounts: Mapping[int, Account]

    def records_of(self, store: TokenStore) -> list[tuple[int, int]]:
        """Of every row of a store that was made of this shard's: its record."""
        return [(self.set_P[part], number) for part, number in store.origins().tolist()]


class Stream:
    """The shards of every epoch. `told` hears the account of each data set in each shard."""

    def __init__(
        self, entries: Sequence[Entry], renderer: Renders, options: Options, cache: Path, *, strategy: Strategy,
        shares: Sequence[float], seed: int, buffer_size: int, told: Callable[[int, Account], None],
    ) -> None:  # fmt: skip
        self._entries = tuple(entries)
        self._renderer = renderer
        self._options = options
        self._cache = cache
        self._strategy: Strategy = strategy
        self._shares = tuple(shares)
        self.seed = seed
        self.buffer_size = buffer_size
        self._told = told
        self._converters = [self._recognised(entry) for entry in entries]
        self.kept_back: Records = set()

    def keep_back(self, records: Records) -> None:
        """These are never trained on, whatever shard they come in."""
        self.kept_back = records

    def shards(self, epoch: int, *, skip: int = 0) -> Iterator[Shard]:
        """From the `skip`-th on; one of which no record is kept is counted, too."""
        for number, raw in enumerate(self._raw(epoch)):
            if number >= skip:
                yield self._rendered(raw)

    def _raw(self, epoch: int) -> Iterator[list[tuple[int, Raw]]]:
        opens = [lambda entry=entry: rows_of(entry, self._options) for entry in self._entries]
        turns = take_turns(opens, self._strategy, self._shares, self.seed, epoch)
        with closing(turns):
            while shard := list(islice(turns, self.buffer_size)):
                yield shard

    def _rendered(self, raw: Sequence[tuple[int, Raw]]) -> Shard:
        parts: list[Part] = []
        sets: list[int] = []
        accounts: dict[int, Account] = {}
        for which in sorted({which for which, _ in raw}):
            part, account = self._part(which, [row for of, row in raw if of == which])
            self._told(which, account)
            accounts[which] = account
            if part is not None:
                parts.append(part)
                sets.append(which)
        if not parts:
            return Shard(None, (), accounts)
        store = TokenStore(parts)
        shard = Shard(store, tuple(sets), accounts)
        if not self.kept_back:
            return shard
        wanted = np.flatnonzero([record not in self.kept_back for record in shard.records_of(store)])
        return Shard(store.select(wanted) if wanted.size else None, shard.set_P, accounts)

    def _part(self, which: int, rows: Sequence[Raw]) -> tuple[Part | None, Account]:
        """The arrays lie in a folder only until they are mapped; what is mapped stays until it is dropped."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="stream-", dir=self._cache, ignore_cleanup_errors=True) as room:
            folder = Path(room)
            account = build_piece(
                rows, self._converters[which], self._entries[which], self._renderer, self._options, folder
            )
            return (Part.open(folder) if account.kept else None), account

    def _recognised(self, entry: Entry) -> Converter:
        with closing(rows_of(entry, self._options)) as rows:
            sample = first_rows(rows, entry, self._options)
        return choose(entry, [row for row in sample if not isinstance(row, DataError)])


class StreamSource:
    """Steps over the shards of a stream, epoch after epoch. `steps`: of the run; those of an epoch are not known."""

    def __init__(
        self, stream: Stream, first: TokenStore, *, rows_per_step: int, micro_batch_tokens: int, shuffle: bool,
        term: str, steps: int, pack_tokens: int | None,
    ) -> None:  # fmt: skip
        """first: the rows of the first shard, which were rendered to be looked at. pack_tokens: None packs nothing."""
        self._stream = stream
        self._rows_per_step = rows_per_step
        self._budget = micro_batch_tokens
        self._shuffle = shuffle
        self._term = term
        self._steps = steps
        self._pack_tokens = pack_tokens
        self._epoch = self._shard = self._step = 0
        self._shards: Iterator[Shard] | None = None
        self._inner = self._source(first)

    @property
    def steps_per_epoch(self) -> int:
        """Nobody knows; the run is over within one."""
        return self._steps

    def next_step(self) -> Step:
        """`Step.epoch` counts whole passes through the data."""
        while self._step == self._inner.steps_per_epoch:
            self._go_on()
        step = self._inner.next_step()
        self._step += 1
        return Step(step.batches, step.counts, float(self._epoch))

    def origin(self, row: int) -> Origin:
        return self._inner.origin(row)

    def largest(self, steps: int) -> Step:
        """Of the shard at hand; what later ones bring is not known."""
        return self._inner.largest(min(steps, self._inner.steps_per_epoch))

    def state(self) -> dict[str, int]:
        return {
            "epoch": self._epoch,
            "shard": self._shard,
            "step": self._step,
            "rows_per_step": self._rows_per_step,
            "seed": self._stream.seed,
            "shuffle": int(self._shuffle),
            "buffer_size": self._stream.buffer_size,
            "packs": self._pack_tokens or 0,
            "kept_back": len(self._stream.kept_back),
            "dataset": self._inner.state()["dataset"],
        }

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state`: its shard is read and rendered again, and must have the rows that it had."""
        mine = self.state()
        for key in STATE_KEYS:
            if state.get(key) != mine[key]:
                raise InputError("data.state-differs", what=key, saved=state.get(key), now=mine[key])
        self._epoch, self._shard = int(state["epoch"]), int(state["shard"])
        self._shards = self._stream.shards(self._epoch, skip=self._shard)
        found = next(self._shards, None)
        now = 0
        if found is not None and found.store is not None:
            self._inner = self._source(found.store)
            now = self._inner.state()["dataset"]
        if now != state["dataset"]:
            raise InputError("data.state-differs", what="dataset", saved=state["dataset"], now=now)
        self._step = int(state["step"])
        if not 0 <= self._step <= self._inner.steps_per_epoch:
            raise InputError("data.state-differs", what="step", saved=self._step, now=self._inner.steps_per_epoch)
        self._inner.restore({**self._inner.state(), "step": self._step})

    def on_update(self, version: int) -> None:
        """Rows of a file do not depend on the weights."""

    def _go_on(self) -> None:
        """To the next shard that has rows; after the last one to the next epoch."""
        if self._shards is None:
            self._shards = self._stream.shards(self._epoch, skip=self._shard + 1)
        while True:
            found = next(self._shards, None)
            if found is None:
                self._epoch, self._shard = self._epoch + 1, -1
                self._shards = self._stream.shards(self._epoch)
                continue
            self._shard += 1
            if found.store is not None:
                break
        self._step = 0
        self._inner = self._source(found.store)

    def _source(self, store: TokenStore) -> StepSource:
        seed = _seed(self._stream.seed, self._epoch, self._shard)
        packs = None
        if self._pack_tokens is not None:
            packs = pack(store.lengths, self._pack_tokens, seed, shuffle=self._shuffle)
        return StepSource(
            store, rows_per_step=self._rows_per_step, micro_batch_tokens=self._budget, seed=seed,
            shuffle=self._shuffle, term=self._term, packs=packs,
        )  # fmt: skip


def take_turns(
    opens: Sequence[Callable[[], Iterator[Raw]]], strategy: Strategy, shares: Sequence[float], seed: int, epoch: int
) -> Generator[tuple[int, Raw], None, None]:
    """One epoch: whose row, and the row. The strategies are those of `data.mixing`, without knowing any length."""
    if strategy == "concat" or len(opens) == 1:
        for which, open_rows in enumerate(opens):
            for row in open_rows():
                yield which, row
        return
    ahead = [_Ahead(open_rows) for open_rows in opens]
    turns = _drawn(shares, seed, epoch) if shares else cycle(range(len(opens)))
    for taken in count(1):
        which = next(turns)
        one = ahead[which]
        if not (strategy == "interleave_once" and one.was_used_up):
            yield which, one.take(again=strategy != "interleave_once")
        if not shares and taken % len(opens):
            continue  # strict turns end with a whole round
        ended = [one.was_used_up for one in ahead]
        if any(ended) if strategy == "interleave_under" else all(ended):
            return


class _Ahead:
    """Rows of one data set, with one row read ahead, so that its end is known with its last row."""

    def __init__(self, opens: Callable[[], Iterator[Raw]]) -> None:
        self._opens = opens
        self._rows = opens()
        self._next = next(self._rows, None)
        self.was_used_up = False

    def take(self, *, again: bool) -> Raw:
        row = self._next
        if row is None:
            raise AssertionError("a data set without rows was recognised")
        self._next = next(self._rows, None)
        if self._next is None:
            self.was_used_up = True
            if again:
                self._rows = self._opens()
                self._next = next(self._rows, None)
        return row


def _drawn(shares: Sequence[float], seed: int, epoch: int) -> Iterator[int]:
    bits = np.random.PCG64(np.random.SeedSequence([seed % 2**64, MIX_STREAM, epoch]))
    border = np.cumsum(np.array(shares) / sum(shares))
    border[-1] = 1.0
    while True:
        uniform = (bits.random_raw(DRAWN_AT_ONCE) >> np.uint64(11)) * 2.0**-53
        turns: NDArray[np.int64] = np.searchsorted(border, uniform, side="right")
        yield from turns.tolist()


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0])
