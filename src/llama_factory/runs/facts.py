"""All that the page of a run is made from, as frozen plain values; the recipe that trained gathers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llama_factory.errors import Language
from llama_factory.records import Finding, Foreseen

Kind = Literal["finished", "early", "interrupted", "diverged", "failed"]


@dataclass(frozen=True, slots=True)
class Ending:
    """What stopped the run. text: the letter that says so, if there is one. command: how to go on from here."""

    kind: Kind
    text: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """One row, answered by the model before and after training; an answer that was not asked for is None."""

    origin: str
    prompt: str
    reference: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """log: the lines of `trainer_log.jsonl`. smoothed: the training loss by step. lengths: tokens of each row.

    checked: found before step 1; health: noticed while it ran, each with the step in its values; noticed: what else was
    told meanwhile. foreseen: planned memory and time, and what was measured. after_step: whose weights gave the
    answers "after".
    files: name and bytes; commands: what they do, as a key of `words`, and the line to type.
    """

    language: Language
    title: str
    about: str
    ending: Ending
    log: Sequence[Mapping[str, Any]]
    smoothed: Sequence[tuple[float, float]] = ()
    lengths: Sequence[int] | NDArray[np.int64] = ()
    cutoff: int | None = None
    data_lines: Sequence[str] = ()
    answered: Sequence[Answered] = ()
    after_step: int | None = None
    checked: Sequence[Finding] = ()
    health: Sequence[Finding] = ()
    noticed: Sequence[Finding] = ()
    foreseen: Foreseen | None = None
    environment: Sequence[tuple[str, str]] = ()
    configuration: str = ""
    files: Sequence[tuple[str, int]] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
