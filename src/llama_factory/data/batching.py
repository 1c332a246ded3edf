"""Rows -> steps: which rows make one update of the weights, and how a step is cut into micro-batches.

In: a `TokenStore`, rows (or packs of rows) a step, a token budget, a seed. Out: `Step`s without end. Everything is a
pure function of (seed, epoch, step), so a state is three numbers and a restored source goes on to the bit.

The budget decides only how a step is *cut*: the rows of a step and the counts its sums are divided by
are the same for any budget, and so is the gradient. It deliberately does not pad, does not touch the
tokens one by one, does not know a loss beyond the name of its count, and starts no worker: a row is a
slice of a memory map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llama_factory.data.store import TokenStore
from llama_factory.errors import InputError
from llama_factory.records import Batch, Origin, Step, within

if TYPE_CHECKING:
    from llama_factory.data.packing import Packs

STATE_KEYS = ("epoch", "step", "rows", "rows_per_step", "seed", "shuffle", "dataset", "packs")


def batches(
    store: TokenStore, *, rows_per_step: int, micro_batch_tokens: int, seed: int, shuffle: bool, term: str = "sft",
    packs: Packs | None = None,
) -> StepSource:  # fmt: skip
    """A source of steps over `store`; `term` names the count of each step: {"sft": sum of the weights}.

    packs: given, a step has `rows_per_step` of them instead of single rows.
    """
    return StepSource(
        store,
        rows_per_step=rows_per_step,
        micro_batch_tokens=micro_batch_tokens,
        seed=seed,
        shuffle=shuffle,
        term=term,
        packs=packs,
    )


def evaluation_batches(store: TokenStore, micro_batch_tokens: int) -> Iterator[Batch]:
    """Every row once, longest first, so that the largest batch shows at once whether it fits."""
    for rows in cut(np.arange(len(store), dtype=np.int64), store.lengths, micro_batch_tokens):
        yield lay_out(store, rows)


def sample_batch(store: TokenStore, rows: int = 2) -> Batch:
    """A few of the shortest rows together: enough to try something on, cheap to compute."""
    return lay_out(store, np.sort(np.argsort(store.lengths, kind="stable")[:rows]))


class StepSource:
    """Endless epochs; each is a fresh permutation of all rows or packs, its last step may be smaller."""

    def __init__(
        self, store: TokenStore, *, rows_per_step: int, micro_batch_tokens: int, seed: int, shuffle: bool, term: str,
        packs: Packs | None = None,
    ) -> None:  # fmt: skip
        if len(store) == 0 or rows_per_step < 1 or micro_batch_tokens < 1:
            raise ValueError("a source needs rows, at least one row a step and at least one token a micro-batch")
        self._store = store
        self._rows_per_step = rows_per_step
        self._budget = micro_batch_tokens
        self._seed = seed
        self._shuffle = shuffle
        self._term = term
        self._packs = packs
        self._units = len(store) if packs is None else len(packs)
        self._epoch = 0
        self._step = 0
        self._content = int(store.fingerprint[:12], 16)
        self._order_R = self._permutation(self._epoch)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self._units // self._rows_per_step)

    def origin(self, row: int) -> Origin:
        """Where a row of the step at hand came from."""
        return self._store.origin(row)

    def next_step(self) -> Step:
        """The next step; `Step.epoch` is how many epochs are done once it is taken."""
        if self._step == self.steps_per_epoch:
            self._epoch, self._step = self._epoch + 1, 0
            self._order_R = self._permutation(self._epoch)
        rows = self._rows(self._order_R, self._step)
        self._step += 1
        cuts = cut(rows, self._store.lengths[rows], self._budget)
        return self._of(rows, cuts, self._epoch + self._step / self.steps_per_epoch)

    def largest(self, steps: int) -> Step:
        """The micro-batch with the most tokens of the first `steps` steps, as a step of its own: what sets the peak
        of memory. Found by the lengths alone; of two equal ones the one with the longer row. Moves nothing on.
        """
        length_R = self._store.lengths
        longest = int(length_R.max())
        none_larger = (max(self._budget, longest), longest)
        best, size = self._order_R[:0], (0, 0)
        for number in range(steps):
            epoch, step = divmod(number, self.steps_per_epoch)
            if step == 0:
                order_R = self._permutation(epoch)
            rows = self._rows(order_R, step)
            for some in cut(rows, length_R[rows], self._budget):
                found = (int(length_R[some].sum()), int(length_R[some].max()))
                if found > size:
                    best, size = some, found
            if size == none_larger:
                break
        return self._of(best, [best], 0.0)

    def state(self) -> dict[str, int]:
        """Where the source stands, and what it stands on."""
        return {
            "epoch": self._epoch,
            "step": self._step,
            "rows": len(self._store),
            "rows_per_step": self._rows_per_step,
            "seed": self._seed,
            "shuffle": int(self._shuffle),
            "dataset": self._content,
            "packs": 0 if self._packs is None else len(self._packs),
        }

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state`. Other rows, another seed or other steps are refused: nothing would be exact."""
        mine = self.state()
        for key in STATE_KEYS[2:]:
            if state.get(key, 0) != mine[key]:  # earlier releases had no packs, and no word for them
                raise InputError("data.state-differs", what=key, saved=state.get(key), now=mine[key])
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= self.steps_per_epoch:
            raise InputError("data.state-differs", what="step", saved=step, now=self.steps_per_epoch)
        self._epoch, self._step = epoch, step
        self._order_R = self._permutation(self._epoch)

    def on_update(self, version: int) -> None:
        """Rows of a file do not depend on the weights; sources that generate their rows listen here."""

    def _rows(self, order_R: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        units = order_R[step * self._rows_per_step : (step + 1) * self._rows_per_step]
        return units if self._packs is None else self._packs.rows(units)

    def _of(self, rows: NDArray[np.int64], cuts: Iterable[NDArray[np.int64]], epoch: float) -> Step:
        return Step(
            batches=tuple(lay_out(self._store, some) for some in cuts),
            counts={self._term: float(self._store.supervised[np.sort(rows)].sum())},
            epoch=epoch,
        )

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if not self._shuffle:
            return np.arange(self._units, dtype=np.int64)
        return permutation(self._units, self._seed, epoch)


def permutation(size: int, *seed: int) -> NDArray[np.int64]:
    """0..size-1 in an order given by the seed alone.

    Sorted by raw bits: numpy keeps those the same in every version, which it does not promise for
    `Generator.permutation`, and a run may be resumed after an upgrade.
    """
    bits = np.random.PCG64(np.random.SeedSequence([number % 2**64 for number in seed])).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)


def cut(rows: NDArray[np.int64], length_R: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Groups of rows with at most `budget` tokens, longest first; a longer row stands alone."""
    by_length = np.lexsort((rows, -length_R))
    for group in within(length_R[by_length].tolist(), budget):
        yield rows[by_length[group]]


def lay_out(store: TokenStore, rows: NDArray[np.int64]) -> Batch:
    """The rows end to end, copied out of the map in one pass, and the map let go."""
    found = [store.row(int(row)) for row in rows]
    offsets = np.zeros(len(found) + 1, dtype=np.int64)
    np.cumsum([row.ids_T.size for row in found], out=offsets[1:])
    batch = Batch(
        ids_T=np.concatenate([row.ids_T for row in found]),
        weight_T=np.concatenate([row.weight_T for row in found]),
        offsets=offsets,
        rows=np.asarray(rows, dtype=np.int64),
    )
    store.let_go()  # an epoch would end with all of the files in this process's memory
    return batch
