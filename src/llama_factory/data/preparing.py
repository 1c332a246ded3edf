"""A run's data, from names to token stores: every data set opened or built, checked, put together, split.

In: a `Run`, a renderer, the cache folder, a way to say things. Out: `Prepared`: what is trained on, what is
only judged, and the summary. Everything that can be wrong with the data is found here, before a weight
is loaded. It deliberately makes no batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llama_factory.data import tokenized
from llama_factory.data.batching import permutation
from llama_factory.data.building import Options, Renders, several
from llama_factory.data.caching import Value, key_of, open_or_build, shape_of
from llama_factory.data.fitting import Fitting
from llama_factory.data.learning import Learned
from llama_factory.data.mixing import mix
from llama_factory.data.packing import Packs, pack
from llama_factory.data.registry import find
from llama_factory.data.sizing import packs_rows, seed_of
from llama_factory.data.sources import fetch
from llama_factory.data.store import TokenStore
from llama_factory.data.streaming import Stream
from llama_factory.data.summary import (
    Account,
    DataSetSummary,
    Share,
    Summary,
    data_set_lines,
    epoch_lines,
    summarise,
)
from llama_factory.data.tokenized import Kept
from llama_factory.data.words import line
from llama_factory.errors import DataError, InputError, Language

if TYPE_CHECKING:
    from llama_factory.config import Run

ACCEPTED_LOSS = 0.05
"""Share of too long rows above which they are not left out unless the user chose so."""

SPLIT_STREAM = 0x5EED
"""Beside the seed, so that the split and the first epoch's order are different draws."""

PROGRESS_EVERY_S = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """`validation` is None when the run asked for none.

    packs: the units of a step where rows are packed, over the rows of `train`. stream: where rows are read as they are
    needed, all that comes; `train` has the first of them then. validated: where each data set is
    judged alone, its validation rows by the name of their loss; together they are `validation`.
    """

    train: TokenStore
    validation: TokenStore | None
    summary: Summary
    packs: Packs | None = None
    stream: Stream | None = None
    validated: Mapping[str, TokenStore] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """What an epoch is counted in: packs where rows are packed, else rows."""
        return len(self.train) if self.packs is None else len(self.packs)


def prepare(run: Run, renderer: Renders, *, cache: Path, say: Say, language: Language = "en") -> Prepared:
    """All data of a run. What is found is said line by line as it is found, and returned as a summary."""
    data = run.data
    desk = _Desk(run, renderer, cache, say, language)
    if data.mixing.streaming:
        return _streamed(run, desk)
    sets = desk.open({"train": data.dataset, "eval": data.eval_dataset}, data.tokenized_path)
    if sets["eval"] and data.val_size:
        raise InputError("data.two-validations", where="val_size")
    train, judged = (tuple(_summary(one) for one in sets[use]) for use in ("train", "eval"))
    store = TokenStore([one.part for one in sets["train"]])
    validation: TokenStore | None = None
    if sets["eval"]:
        validation = TokenStore([one.part for one in sets["eval"]])
    elif data.val_size:
        store, validation = split(store, data.val_size, seed_of(run))
    store, shares = _mixed(run, store, [one.name for one in train])
    packs = _packed(run, store)
    summary = Summary(
        train, judged, len(store), 0 if validation is None else len(validation), shares, packs=len(packs or ())
    )
    for text in epoch_lines(summary, language):
        say(text)
    return Prepared(store, validation, summary, packs, validated=_one_by_one(run, validation))


def _streamed(run: Run, desk: _Desk) -> Prepared:
    """The first shard is what is looked at before step 1. Validation rows come out of it, or from other data sets."""
    data = run.data
    if not data.dataset:
        raise InputError("data.no-dataset", where="dataset")
    others = desk.open({"train": (), "eval": data.eval_dataset}, None)["eval"]
    stream = desk.stream(run)
    shard = next(stream.shards(0))
    train, validation = shard.store, None
    if train is None:
        raise DataError("data.stream-empty", where=", ".join(data.dataset), buffer_size=data.mixing.buffer_size)
    if others:
        validation = TokenStore([one.part for one in others])
    elif data.val_size:
        train, validation = split(train, data.val_size, seed_of(run))
        stream.keep_back(set(shard.records_of(validation)))
    judged = tuple(_summary(one) for one in others)
    found = tuple(
        _summary(Kept(data.dataset[which], part, shard.accounts[which], "new"))
        for which, part in zip(shard.set_P, train.parts, strict=True)
    )
    summary = Summary(found, judged, len(train), 0 if validation is None else len(validation))
    desk.say("stream", rows=len(train), validation=summary.validation_rows, buffer=data.mixing.buffer_size)
    return Prepared(train, validation, summary, _packed(run, train), stream, _one_by_one(run, validation))


def _summary(one: Kept) -> DataSetSummary:
    return summarise(one.name, one.account, TokenStore([one.part]), one.found, one.changed)


def _mixed(run: Run, store: TokenStore, names: Sequence[str]) -> tuple[TokenStore, tuple[Share, ...]]:
    """The rows of one epoch, and how many of them each data set has, where there is anything to say about that."""
    mixing = run.data.mixing
    if mixing.mix_strategy == "concat" or len(names) == 1:
        return store, ()
    part_R = store.origins()[:, 0]
    rows = mix(
        part_R,
        names,
        mixing.mix_strategy,
        mixing.interleave_probs,
        seed_of(run),
        shuffle=not run.data.disable_shuffling,
    )
    shares = []
    for part, name in enumerate(names):
        mine = rows[part_R[rows] == part]
        shares.append(Share(name, int(mine.size), int(np.unique(mine).size), int((part_R == part).sum())))
    return store.select(rows), tuple(shares)


def _packed(run: Run, store: TokenStore) -> Packs | None:
    if not packs_rows(run):
        return None
    return pack(store.lengths, run.data.cutoff_len, seed_of(run), shuffle=not run.data.disable_shuffling)


def _one_by_one(run: Run, validation: TokenStore | None) -> Mapping[str, TokenStore]:
    """By the name of its loss, every data set of which there are validation rows."""
    if validation is None or not run.data.loss_names:
        return {}
    part_R = validation.origins()[:, 0]
    found = {
        loss: validation.select(np.flatnonzero(part_R == part))
        for part, loss in enumerate(run.data.loss_names.values())
    }
    return {loss: store for loss, store in found.items() if len(store)}


def split(store: TokenStore, val_size: float, seed: int) -> tuple[TokenStore, TokenStore]:
    """Rows drawn by the seed for validation, the rest for training, both in the order of the files.

    val_size: below 1 a share of the records, else how many. Rows that were cut from one record stay on one side.
    """
    _, record_R = np.unique(store.origins(), axis=0, return_inverse=True)
    record_R = record_R.reshape(-1)
    records = int(record_R.max()) + 1
    wanted = round(records * val_size) if val_size < 1 else int(val_size)
    wanted = max(wanted, 1)
    if wanted >= records or val_size < 0 or (val_size >= 1 and val_size != int(val_size)):
        raise InputError("data.val-size", where="val_size", val_size=val_size, wanted=wanted, records=records)
    drawn = np.zeros(records, dtype=bool)
    drawn[permutation(records, seed, SPLIT_STREAM)[:wanted]] = True
    judged_R = drawn[record_R]
    return store.select(np.flatnonzero(~judged_R)), store.select(np.flatnonzero(judged_R))


def options_of(run: Run) -> Options:
    """What the run says about how rows are shaped."""
    data = run.data
    fitting: Fitting = "drop"
    if data.on_too_long == "truncate" or data.on_too_long == "split":
        fitting = data.on_too_long
    learned: Learned = "answers"
    if data.learning.train_on_prompt or data.learning.mask_history:
        learned = "everything" if data.learning.train_on_prompt else "last answer"
    return Options(data.cutoff_len, fitting, data.max_samples, data.on_bad_row, learned, run.method.stage)


class _Desk:
    """Opens data sets one after the other, all with the options of one run."""

    def __init__(self, run: Run, renderer: Renders, cache: Path, say: Say, language: Language) -> None:
        self._dataset_dir = run.data.dataset_dir
        self._token = run.model.hf_hub_token
        self._on_too_long = run.data.on_too_long
        self._renderer = renderer
        self._cache = cache
        self._say = say
        self._language: Language = language
        self._options = options_of(run)
        self._streaming = run.data.mixing.streaming
        self._judged: set[str] = set()

    def open(self, names: Mapping[str, Sequence[str]], tokenized_path: str | None) -> Mapping[str, Sequence[Kept]]:
        """Each data set by its use: out of `tokenized_path`, or from its file and, where asked for, put there."""
        place = Path(tokenized_path) if tokenized_path else None
        if place is not None and tokenized.is_there(place):
            self._say(line("taken", self._language, path=place))
            found = tokenized.read(place, names, self._key_of, shape_of(self._renderer, self._options), self._cache)
            for one in (one for some in found.values() for one in some):
                self._refuse_bad(one.account)
                self._tell(one)
            return found
        if not names["train"] and not self._streaming:
            raise InputError("data.no-dataset", where="dataset")
        found = {use: [self._open(name, some) for name in some] for use, some in names.items()}
        if place is not None:
            tokenized.write(place, found)
            self._say(line("put", self._language, path=place))
        return found

    def _open(self, name: str, names: Sequence[str]) -> Kept:
        if names.count(name) > 1:
            raise InputError("data.named-twice", where="dataset", name=name)
        entry = fetch(find(name, self._dataset_dir), self._cache, self._token)
        opened = open_or_build(entry, self._renderer, self._options, self._cache, self._progress(entry.shown))
        kept = Kept(name, opened.part, opened.account, opened.found, opened.changed)
        self._tell(kept)
        return kept

    def stream(self, run: Run) -> Stream:
        names, mixing = run.data.dataset, run.data.mixing
        for name in names:
            if names.count(name) > 1:
                raise InputError("data.named-twice", where="dataset", name=name)
        return Stream(
            [fetch(find(name, self._dataset_dir), self._cache, self._token) for name in names],
            self._renderer, self._options, self._cache,
            strategy=mixing.mix_strategy, shares=mixing.interleave_probs, seed=seed_of(run),
            buffer_size=mixing.buffer_size, told=lambda which, account: self._heard(names[which], account),
        )  # fmt: skip

    def _heard(self, name: str, account: Account) -> None:
        """Of every shard, what it lost; the first one decides whether so much may be lost."""
        if name not in self._judged:
            self._judged.add(name)
            self._refuse_loss(account)
        if account.bad or account.lost or account.shortened:
            self.say("lost", name=name, read=account.read, bad=account.bad, lost=account.lost, cut=account.shortened)

    def say(self, what: str, **values: object) -> None:
        self._say(line(what, self._language, **values))

    def _key_of(self, name: str) -> Mapping[str, Value]:
        entry = find(name, self._dataset_dir)
        if entry.place != "file":  # nothing is fetched for a comparison
            return {"dataset_info.json": entry.said, **shape_of(self._renderer, self._options)}
        return key_of(fetch(entry, self._cache), self._renderer, self._options, self._cache)

    def _tell(self, one: Kept) -> None:
        self._refuse_loss(one.account)
        for text in data_set_lines(_summary(one), self._language):
            self._say(text)

    def _refuse_bad(self, account: Account) -> None:
        """Rows that were left out when the folder was filled are still missing."""
        if account.bad and self._options.on_bad_row == "error":
            raise several([DataError(row.id, where=row.where, **row.values) for row in account.bad_rows], account.bad)

    def _refuse_loss(self, account: Account) -> None:
        """Dropping is the default only while it is little; `error` accepts none."""
        if not account.too_long:
            return
        facts = {
            "count": account.too_long,
            "read": account.read,
            "share": f"{account.too_long / account.read:.1%}",
            "limit": self._options.cutoff_len,
            "longest": account.longest,
        }
        first = account.long_rows[0].where
        if self._on_too_long == "error":
            raise DataError("data.too-long", where=first, **facts)
        if self._on_too_long is None and account.too_long / account.read > ACCEPTED_LOSS:
            raise DataError("data.too-many-long", where=first, **facts)

    def _progress(self, shown: str) -> Callable[[int], None]:
        last = time.monotonic()

        def said(rows: int) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_EVERY_S:
                last = time.monotonic()
                self._say(line("progress", self._language, file=shown, read=rows))

        return said
