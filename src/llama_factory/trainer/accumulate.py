"""One step's loss and gradients out of its micro-batches, however the step was cut.

In: a policy, an objective, a `Step`. Out: gradients on the parameters, and the value of every named term.
Each term is divided by its own count of the whole step, once, here and nowhere else:
loss = sum over terms of weight * (sum over micro-batches of the term's sum) / count of the step.
Memory that runs out becomes `OutOfRoom`, with the micro-batch and without its tensors. It does not clip or update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from llama_factory.errors import DataError, DivergedError, OurFault
from llama_factory.machine import first_line, is_out_of_memory
from llama_factory.records import Batch, Step
from llama_factory.trainer.health import suspects
from llama_factory.trainer.ports import Objective, Origin, P
from llama_factory.trainer.room import OutOfRoom

SHOWN_ROWS = 8


@dataclass(frozen=True, slots=True)
class StepLoss:
    """loss: what was minimised. terms: each term's sum / count, without its weight."""

    loss: float
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one micro-batch adds: to the loss of the step, and to the sum and the count of each term."""

    loss: float
    sums: Mapping[str, float]
    counts: Mapping[str, float]


def accumulate(policy: P, objective: Objective[P], step: Step, *, number: int, origin: Origin) -> StepLoss:
    """Forward and backward of every micro-batch; `number` and `origin` are for messages only."""
    for name, count in step.counts.items():
        if not (math.isfinite(count) and count > 0):
            raise DataError("trainer.nothing-to-learn", step=number, term=name, rows=name_rows(step.batches, origin))
    sums = dict.fromkeys(step.counts, 0.0)
    counted = dict.fromkeys(step.counts, 0.0)
    loss = 0.0
    for batch in step.batches:
        share = _in_memory(policy, objective, batch, step.counts)
        if not math.isfinite(share.loss):
            found = suspects.broken(suspects.row_losses(policy, objective, [batch]))
            rows = suspects.named(found, origin) or name_rows([batch], origin)
            raise DivergedError("trainer.loss-not-finite", step=number, found=share.loss, rows=rows, kept="")
        loss += share.loss
        for name in share.sums:
            sums[name] += share.sums[name]
            counted[name] += share.counts[name]
    _compare(counted, step.counts)
    return StepLoss(loss, {name: total / step.counts[name] for name, total in sums.items()})


def name_rows(batches: Iterable[Batch], origin: Origin) -> str:
    """`train.jsonl:812, train.jsonl:5 (and 14 more)`."""
    rows = [int(row) for batch in batches for row in batch.rows]
    shown = ", ".join(origin(row) for row in rows[:SHOWN_ROWS])
    return shown if len(rows) <= SHOWN_ROWS else f"{shown} (+{len(rows) - SHOWN_ROWS})"


def _in_memory(policy: P, objective: Objective[P], batch: Batch, counts: Mapping[str, float]) -> _Share:
    """`_one`, or `OutOfRoom`. It is raised after the error is gone, whose frames would keep the tensors alive."""
    try:
        return _one(policy, objective, batch, counts)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        reason = first_line(error)
    raise OutOfRoom(batch, reason)


def _one(policy: P, objective: Objective[P], batch: Batch, counts: Mapping[str, float]) -> _Share:
    """Forward, and backward if the loss is a finite number."""
    terms = objective(policy, batch)
    if not terms or terms.keys() - counts.keys():
        raise OurFault("trainer.unknown-terms", found=sorted(terms), counted=sorted(counts))
    share = torch.stack([term.weight * term.sum / counts[name] for name, term in terms.items()]).sum()
    value = share.item()
    if math.isfinite(value):
        share.backward()  # type: ignore[no-untyped-call]
    return _Share(
        value,
        {name: term.sum.item() for name, term in terms.items()},
        {name: term.count for name, term in terms.items()},
    )


def _compare(counted: Mapping[str, float], promised: Mapping[str, float]) -> None:
    """The step's counts were known before the first forward; the micro-batches must add up to them."""
    for name, count in promised.items():
        if not math.isclose(counted[name], count, rel_tol=1e-3):
            raise OurFault("trainer.counts-differ", term=name, promised=count, found=counted[name])
