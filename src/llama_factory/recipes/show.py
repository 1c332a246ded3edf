"""Rows of a run's data as `train` would see them: text, tokens, weights; or the letter that refuses them.

In: a `Run` and which rows. Out: `Showing`: those rows with every token, and what was found about the template.
The rows go through the very functions that fill the token store (`data.looking`). No weights are loaded, nothing is
written, no torch; colours and pages are made in `apps`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from llama_factory.config import Run, require
from llama_factory.data import looking
from llama_factory.data.preparing import options_of
from llama_factory.data.reading import Row
from llama_factory.data.registry import find
from llama_factory.data.sources import fetch
from llama_factory.errors import DataError, InputError, LlamaFactoryError
from llama_factory.model.locate import locate_for
from llama_factory.records import Finding, Rendered
from llama_factory.render import Renderer, renderer_for
from llama_factory.render.shown import Token, tokens

MOST = 200
"""Rows that are shown at once: beyond that nobody reads them, and the page becomes too large to open."""

Progress = Callable[[int], None]
Verdict = Literal["trained", "shortened", "too-long", "bad"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """rows: numbers or places, `812` or `train.jsonl:812`; where there are none, `count` rows taken by `how`."""

    rows: tuple[str, ...] = ()
    how: Literal["first", "random", "longest"] = "first"
    count: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """One rendered row. roles: of the messages that its tokens count, as far as they are known."""

    text: str
    tokens: tuple[Token, ...]
    roles: tuple[str, ...]

    @property
    def trained(self) -> int:
        return sum(token.weight != 0 for token in self.tokens)


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of a file. views: what is trained of it; of a row that is left out, what it would have been.

    length: tokens of the whole row, before it was made to fit.
    """

    where: str
    verdict: Verdict
    views: tuple[View, ...]
    length: int
    error: LlamaFactoryError | None = None


@dataclass(frozen=True, slots=True)
class Showing:
    """What was asked for, and by what it was rendered."""

    template: str
    tokenizer: str
    cutoff_len: int
    notices: tuple[Finding, ...]
    rows: tuple[Shown, ...]


def show(run: Run, wanted: Wanted, *, cache: Path, progress: Progress = lambda rows: None) -> Showing:
    """Raises InputError where a row that was named is not there, and what spoils a whole file.

    cache: where data sets of a hub are kept. progress: hears how many rows of a data set were read.
    """
    require(run, "show")
    if not 0 < max(wanted.count, len(wanted.rows)) <= MOST:
        raise InputError("apps.show-too-many", most=MOST)
    folders = locate_for(run)
    renderer = renderer_for(run, folders.tokenizer or folders.base, to_train=True)
    options = options_of(run)
    names = (*run.data.dataset, *run.data.eval_dataset)
    if not wanted.rows:
        names = names[:1] if wanted.how == "first" else run.data.dataset
    entries = (fetch(find(name, run.data.dataset_dir), cache, run.model.hf_hub_token) for name in names)
    desks = (looking.Desk(entry, renderer, options, progress) for entry in entries)
    found = _named(desks, wanted.rows) if wanted.rows else TAKEN[wanted.how](desks, wanted.count, run.training.seed)
    rows = tuple(_shown(desk.look(row), renderer) for desk, row in found)
    place = str(renderer.tokenizer.folder)
    return Showing(renderer.template_name, place, options.cutoff_len, (*run.notices, *renderer.notices), rows)


# --- which rows -----------------------------------------------------------------------------------------------

Found = list[tuple[looking.Desk, Row | DataError]]
Desks = Iterator[looking.Desk]


def _first(desks: Desks, count: int, seed: int) -> Found:
    found: Found = []
    for desk in desks:
        for row in desk.rows():
            found.append((desk, row))
            if len(found) == count:
                return found
    return found


def _random(desks: Desks, count: int, seed: int) -> Found:
    """Each row as likely as any other, without holding more than `count` (Vitter's algorithm R)."""
    draw = random.Random(seed)  # noqa: S311 - which rows a person looks at is no secret
    found: Found = []
    seen = 0
    for desk in desks:
        for row in desk.rows():
            seen += 1
            if len(found) < count:
                found.append((desk, row))
            elif (at := draw.randrange(seen)) < count:
                found[at] = (desk, row)
    return found


def _longest(desks: Desks, count: int, seed: int) -> Found:
    """By the tokens of the whole row, longest first; of two that are as long, the earlier one."""
    best: list[tuple[int, int, looking.Desk, Row | DataError]] = []
    number = 0
    for desk in desks:
        for length, row in desk.lengths():
            number -= 1
            heapq.heappush(best, (length, number, desk, row))
            if len(best) > count:
                heapq.heappop(best)
    return [(desk, row) for _, _, desk, row in sorted(best, key=lambda one: one[:2], reverse=True)]


TAKEN = {"first": _first, "random": _random, "longest": _longest}


def _named(desks: Desks, wanted: tuple[str, ...]) -> Found:
    """In the order in which they were named. A number alone counts in the first data set that has it."""
    found: dict[str, tuple[looking.Desk, Row | DataError]] = {}
    last = ""
    for desk in desks:
        for row in desk.rows():
            last = looking.place(row)
            names = _names(desk, last)
            for name in wanted:
                if name not in found and name in names:
                    found[name] = (desk, row)
            if len(found) == len(set(wanted)):
                return [found[name] for name in wanted]
    missing = next(name for name in wanted if name not in found)
    raise InputError("apps.show-no-row", row=missing, last=last)


def _names(desk: looking.Desk, place: str) -> tuple[str, ...]:
    """What a person may call the row at `data/train.jsonl:812`: that, `train.jsonl:812`, `my_set:812` or `812`."""
    file, _, number = place.rpartition(":")
    return place, f"{PurePath(file).name}:{number}", f"{desk.entry.name}:{number}", number


# --- what becomes of a row ------------------------------------------------------------------------------------


def _shown(looked: looking.Looked, renderer: Renderer) -> Shown:
    if looked.error is not None:
        verdict: Verdict = "bad"
    elif not looked.too_long:
        verdict = "trained"
    else:
        verdict = "shortened" if looked.rows else "too-long"
    rows = looked.rows or looked.whole
    whole = [row.ids_T.size for row in looked.whole]
    views = tuple(_view(row, renderer, looked.roles if _counts(row, looked) else ()) for row in rows)
    return Shown(looked.where, verdict, views, int(max(whole, default=0)), looked.error)


def _counts(row: Rendered, looked: looking.Looked) -> bool:
    """Whether the row's messages have the numbers of the record: a whole row, or its beginning."""
    return any(np.array_equal(one.ids_T[: row.ids_T.size], row.ids_T) for one in looked.whole)


def _view(row: Rendered, renderer: Renderer, roles: tuple[str, ...]) -> View:
    return View(row.text, tokens(renderer, row), roles)
