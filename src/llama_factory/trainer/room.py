"""How much is computed at a time when the memory turns out too small: smaller micro-batches, the same step again.

In: a step as its source cut it, and the micro-batch that did not fit. Out: the same rows in smaller micro-batches, for
the rest of the run. Sums over micro-batches are divided by the count of the whole step (`accumulate`), so any cut
between rows gives the same gradient; only the order of summation differs, and what dropout draws for which token.
It repeats nothing itself: `update` and `evaluation` do.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import torch

from llama_factory.records import Batch, Step, within


class OutOfRoom(Exception):
    """Memory ran out while `batch` was computed. It holds no tensor: what the failed forward took is free again."""

    def __init__(self, batch: Batch, reason: str) -> None:
        super().__init__(reason)
        self.batch = batch
        self.reason = reason


class Room:
    """limit: most tokens of a micro-batch of several rows; None leaves the source's cut as it is."""

    def __init__(self) -> None:
        self.limit: int | None = None

    def cut(self, step: Step) -> Step:
        """The step in micro-batches that fit. A row longer than the limit stands alone."""
        if self.limit is None or all(batch.ids_T.size <= self.limit for batch in step.batches):
            return step
        return replace(step, batches=tuple(part for batch in step.batches for part in _parts(batch, self.limit)))

    def can_shrink(self, batch: Batch) -> bool:
        """Whether it has several rows. What `extras` mean is not known here, so a batch with some is never cut."""
        return batch.rows.size > 1 and not batch.extras

    def shrink(self, batch: Batch) -> int:
        """From now on at most half of this many tokens at a time; the new limit."""
        self.limit = max(1, int(batch.ids_T.size) // 2)
        return self.limit


def _parts(batch: Batch, limit: int) -> Iterator[Batch]:
    if batch.extras:
        return iter([batch])
    return (batch.part(rows) for rows in within(batch.lengths_R.tolist(), limit))


def give_back() -> None:
    """Free what a failed forward took, also where its graph holds itself in a circle."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
