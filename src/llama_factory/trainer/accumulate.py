"""One step's loss and gradients out of its micro-batches, however the step was cut.

In: a policy, an objective, a `Step`. Out: gradients on the parameters, and the value of every named term.
Each term is divided by its own count of the whole step, once, here and nowhere else:
loss = sum over terms of weight * (sum over micro-batches of the term's sum) / count of the step.
It does not clip or update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from llama_factory.errors import DataError, DivergedError, OurFault
from llama_factory.records import Batch, Step
from llama_factory.trainer.ports import Objective, Origin, P, TermLike

SHOWN_ROWS = 8


@dataclass(frozen=True, slots=True)
class StepLoss:
    """loss: what was minimised. terms: each term's sum / count, without its weight."""

    loss: float
    terms: Mapping[str, float]


def accumulate(policy: P, objective: Objective[P], step: Step, *, number: int, origin: Origin) -> StepLoss:
    """Forward and backward of every micro-batch; `number` and `origin` are for messages only."""
    for name, count in step.counts.items():
        if not (math.isfinite(count) and count > 0):
            raise DataError("trainer.nothing-to-learn", step=number, term=name, rows=name_rows(step.batches, origin))
    sums = dict.fromkeys(step.counts, 0.0)
    counted = dict.fromkeys(step.counts, 0.0)
    loss = 0.0
    for batch in step.batches:
        terms = objective(policy, batch)
        if not terms or terms.keys() - step.counts.keys():
            raise OurFault("trainer.unknown-terms", found=sorted(terms), counted=sorted(step.counts))
        share = torch.stack([term.weight * term.sum / step.counts[name] for name, term in terms.items()]).sum()
        value = share.item()
        if not math.isfinite(value):
            rows = name_rows([batch], origin)
            raise DivergedError("trainer.loss-not-finite", step=number, found=value, rows=rows, kept="")
        share.backward()  # type: ignore[no-untyped-call]
        loss += value
        _add(terms, sums, counted)
    _compare(counted, step.counts)
    return StepLoss(loss, {name: total / step.counts[name] for name, total in sums.items()})


def name_rows(batches: Iterable[Batch], origin: Origin) -> str:
    """`train.jsonl:812, train.jsonl:5 (and 14 more)`."""
    rows = [int(row) for batch in batches for row in batch.rows]
    shown = ", ".join(origin(row) for row in rows[:SHOWN_ROWS])
    return shown if len(rows) <= SHOWN_ROWS else f"{shown} (+{len(rows) - SHOWN_ROWS})"


def _add(terms: Mapping[str, TermLike], sums: dict[str, float], counted: dict[str, float]) -> None:
    for name, term in terms.items():
        sums[name] += term.sum.item()
        counted[name] += term.count


def _compare(counted: Mapping[str, float], promised: Mapping[str, float]) -> None:
    """The step's counts were known before the first forward; the micro-batches must add up to them."""
    for name, count in promised.items():
        if not math.isclose(counted[name], count, rel_tol=1e-3):
            raise OurFault("trainer.counts-differ", term=name, promised=count, found=counted[name])
