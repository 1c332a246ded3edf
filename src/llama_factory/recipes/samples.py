"""A few rows answered by the model that is trained, so that a person sees what training changed.

In: the rows of a run, the module that learns, the renderer. Out: prompts, the rows' own answers, the model's: always
the likeliest words, a few dozen of them, within a time limit. Weights, modes and generators are left as they were:
the run has the same bytes with and without. It compares nothing and judges nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llama_factory import data
from llama_factory.generation import Finish, Sampling, TransformersEngine, decode_stream
from llama_factory.generation.text import UNFINISHED
from llama_factory.model import vocabulary
from llama_factory.render import Renderer
from llama_factory.runs.report import SAMPLE_TOKENS

if TYPE_CHECKING:
    from torch import nn

LONGEST_PROMPT = 512
LIMIT_S = 30.0
"""For all answers of one time of asking: a large model on a slow machine must not keep anybody waiting."""
TRIES = 64
CUT = " …"


@dataclass(frozen=True, slots=True)
class Asked:
    """One row: where it came from, what the user said last, what the row answers, and the tokens up to there."""

    origin: str
    prompt: str
    reference: str
    ids: tuple[int, ...]


def choose(rows: data.Prepared, renderer: Renderer, count: int) -> list[Asked]:
    """Short but typical rows, from the validation rows where there are any: between the shortest tenth and the middle.

    No prompt comes twice.
    """
    store = rows.train if rows.validation is None else rows.validation
    by_length = np.argsort(store.lengths, kind="stable")
    found: dict[str, Asked] = {}
    for share in np.linspace(0.1, 0.5, count):
        start = int(share * (len(store) - 1))
        for place in range(start, min(len(store), start + TRIES)):
            asked = _asked(store.row(int(by_length[place])), renderer)
            if asked is not None and asked.prompt not in found:
                found[asked.prompt] = asked
                break
    return list(found.values())


def answer(module: nn.Module, renderer: Renderer, asked: Sequence[Asked]) -> list[str]:
    """One answer each; those for which no time is left are cut short, and say so by their end."""
    engine = TransformersEngine(module, renderer.stop_ids, tokens=vocabulary.needed_by(renderer))
    until = time.monotonic() + LIMIT_S
    return [_answer(engine, renderer, one.ids, until) for one in asked]


def _answer(engine: TransformersEngine, renderer: Renderer, ids: Sequence[int], until: float) -> str:
    finish = Finish("cancelled")

    def stream() -> Iterator[int]:
        nonlocal finish
        sampling = Sampling(max_new_tokens=SAMPLE_TOKENS)
        finish = yield from engine.stream(ids, sampling, lambda: time.monotonic() > until)

    text = "".join(decode_stream(renderer, stream()))
    return text if finish.reason == "stop" else text.rstrip(UNFINISHED) + CUT


def _asked(row: data.StoredRow, renderer: Renderer) -> Asked | None:
    """Up to the first trained turn, exactly the tokens that training saw there."""
    trained = np.flatnonzero(row.weight_T)
    first = int(trained[0]) if trained.size else 0
    if not 0 < first <= LONGEST_PROMPT:
        return None
    answering = int(row.message_T[first])
    if answering < 1:  # everything is trained, the prompt too: nobody can say where the answer begins
        return None
    end = first + int(np.argmin(np.append(row.weight_T[first:] != 0, False)))
    said = [int(id) for id, by in zip(row.ids_T[:first], row.message_T[:first], strict=True) if by == answering - 1]
    return Asked(
        str(row.origin),
        renderer.decode(said).strip(),
        renderer.decode([int(id) for id in row.ids_T[first:end]]).strip(),
        tuple(int(id) for id in row.ids_T[:first]),
    )
