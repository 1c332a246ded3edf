"""Which rows of a step its loss came from: a second look, row by row and without gradients, at a step that stood out.

In: policy, objective, the step. Out: the loss of each row alone, and words that name the rows that added most. It
costs about a third of the step and is made only where a step is odd; dropout is off for it, and the generators stand
afterwards where they stood. Where rows cannot be looked at alone (`extras`, an objective over pairs) nothing is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

import torch

from llama_factory.errors import LlamaFactoryError
from llama_factory.records import Batch
from llama_factory.trainer import randomness
from llama_factory.trainer.ports import Objective, Origin, P

MOST_ROWS = 64
"""Of a step that is larger only the first of each micro-batch are looked at, as many as that in all."""
NAMED = 3


@dataclass(frozen=True, slots=True)
class RowLoss:
    """loss: mean over what the row counts; count: how much that is."""

    row: int
    loss: float
    count: float


def row_losses(policy: P, objective: Objective[P], batches: Sequence[Batch]) -> list[RowLoss]:
    """Of the rows that count for something. Empty where a row alone cannot be judged."""
    if any(batch.extras for batch in batches):
        return []
    share = max(1, MOST_ROWS // max(1, len(batches)))
    before, found = randomness.capture(), list[RowLoss]()
    policy.module.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                for alone in list(batch.rows_alone())[:share]:
                    terms = objective(policy, alone).values()
                    count = min((term.count for term in terms), default=0.0)
                    if count > 0:
                        loss = sum(term.weight * term.sum.item() / term.count for term in terms)
                        found.append(RowLoss(int(alone.rows[0]), loss, count))
    except (RuntimeError, MemoryError, OSError, LlamaFactoryError):
        return []  # what a forward may raise, memory that runs out first; a courtesy to the reader must not end the run
    finally:
        policy.module.train()
        randomness.put_back(before)
    return found


def broken(rows: Sequence[RowLoss]) -> list[RowLoss]:
    return [one for one in rows if not isfinite(one.loss)]


def loudest(rows: Sequence[RowLoss]) -> list[RowLoss]:
    """Those that lifted the loss most: how far above the middle row, times how much it counts."""
    if not rows:
        return []
    middle = median(one.loss for one in rows)
    return sorted(rows, key=lambda one: (middle - one.loss) * one.count)[:NAMED]


def named(rows: Sequence[RowLoss], origin: Origin) -> str:
    """`train.jsonl:812, train.jsonl:5`: the first few."""
    return ", ".join(origin(one.row) for one in rows[:NAMED])


def spoken(rows: Sequence[RowLoss], origin: Origin) -> str:
    """`train.jsonl:812 (9.31), train.jsonl:5 (2.10)`."""
    return ", ".join(f"{origin(one.row)} ({one.loss:.2f})" for one in rows)
