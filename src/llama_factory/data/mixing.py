"""Several data sets -> the rows of one epoch: one after the other, or in turn by shares.

In: which data set each row belongs to, a strategy, shares, a seed. Out: row numbers, some perhaps repeated, some
left out. The strategies are those that the field knows from `datasets.interleave_datasets`; here all is a pure
function of the seed. Nothing is copied: the numbers choose from a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llama_factory.data.batching import permutation
from llama_factory.errors import InputError

Strategy = Literal["concat", "interleave_under", "interleave_over", "interleave_once"]

DRAWN_AT_ONCE = 1 << 16
MIX_STREAM = 0x313
MOST_ROWS = 1 << 28
"""An epoch with more draws than this is a slip of the pen in `interleave_probs`."""


def mix(
    part_R: NDArray[np.int64], names: Sequence[str], strategy: Strategy, shares: Sequence[float], seed: int, *,
    shuffle: bool,
) -> NDArray[np.int64]:  # fmt: skip
    """Row numbers of one epoch, in the order in which the data sets take turns.

    part_R: 0 for a row of the first of `names`, and so on. shuffle: which rows of a data set come first is drawn by
    the seed; else they come in their order.
    """
    if strategy == "concat" or len(names) == 1:
        return np.arange(part_R.size, dtype=np.int64)
    rows = [np.flatnonzero(part_R == part) for part in range(len(names))]
    for name, some in zip(names, rows, strict=True):
        if some.size == 0:
            raise InputError("data.mixture-empty", where="mix_strategy", name=name)
    if shuffle:
        rows = [some[permutation(some.size, seed, MIX_STREAM, part)] for part, some in enumerate(rows)]
    sizes = np.array([some.size for some in rows], dtype=np.int64)
    turns = _drawn(sizes, strategy, shares, seed) if shares else _in_turn(sizes, strategy)
    mixed = np.empty(turns.size, dtype=np.int64)
    for part, some in enumerate(rows):
        mine = turns == part
        mixed[mine] = np.resize(some, int(mine.sum()))  # from the beginning again where it is used up
    return mixed


def _in_turn(sizes: NDArray[np.int64], strategy: Strategy) -> NDArray[np.int64]:
    """0, 1, 2, 0, 1, 2, ...: as many rounds as the shortest or the longest has rows, or without those used up."""
    rounds = int(sizes.min() if strategy == "interleave_under" else sizes.max())
    turns = np.tile(np.arange(sizes.size), rounds)
    if strategy == "interleave_once":
        return turns[np.repeat(np.arange(rounds), sizes.size) < sizes[turns]]
    return turns


def _drawn(sizes: NDArray[np.int64], strategy: Strategy, shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Whose turn it is, drawn by shares until the first, or every one, has given all its rows."""
    share = np.array(shares) / sum(shares)
    expected = int((sizes / share).min() if strategy == "interleave_under" else (sizes / share).max())
    if expected > MOST_ROWS:
        times = round(expected / int(sizes.sum()))
        raise InputError("data.mixture-endless", where="interleave_probs", rows=f"{expected:,}", times=f"{times:,}")
    bits = np.random.PCG64(np.random.SeedSequence([seed % 2**64, MIX_STREAM]))
    border = np.cumsum(share)
    border[-1] = 1.0
    turns = np.zeros(0, dtype=np.int64)
    while True:
        uniform = (bits.random_raw(DRAWN_AT_ONCE) >> np.uint64(11)) * 2.0**-53
        turns = np.concatenate([turns, np.searchsorted(border, uniform, side="right")])
        used_up = [_place_of(turns == part, int(size)) for part, size in enumerate(sizes)]
        end = min(used_up) if strategy == "interleave_under" else max(used_up)
        if end < turns.size:
            break
    turns = turns[: end + 1]
    if strategy != "interleave_once":
        return turns
    kept = np.zeros(turns.size, dtype=bool)
    for part, size in enumerate(sizes):
        kept[np.flatnonzero(turns == part)[:size]] = True
    return turns[kept]


def _place_of(mine: NDArray[np.bool_], count: int) -> int:
    """Where the `count`-th True stands; behind the end if there are fewer."""
    places = np.flatnonzero(mine)
    return int(places[count - 1]) if places.size >= count else mine.size
