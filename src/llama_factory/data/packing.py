"""Rows -> packs: as many whole rows as fit into `cutoff_len` tokens, so that all packs are of about one size.

In: lengths, a limit, a seed. Out: `Packs`, the units that a step counts. Best fit, longest rows first, within
windows of rows drawn by the seed: windows keep the work linear, and rows of all kinds in every pack. It is a pure
function; every row is in exactly one pack. It deliberately lays nothing out: rows of a pack are documents of their
own wherever they are computed, and see nothing of each other.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llama_factory.data.batching import permutation

WINDOW = 2048
"""Rows among which the best fit is looked for."""

PACK_STREAM = 0x9AC


@dataclass(frozen=True, slots=True, eq=False)
class Packs:
    """Pack p is rows row_R[offsets[p]:offsets[p+1]]."""

    row_R: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.offsets.size) - 1

    def rows(self, packs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of some packs, pack after pack."""
        return np.concatenate([self.row_R[self.offsets[pack] : self.offsets[pack + 1]] for pack in packs.tolist()])


def pack(length_R: NDArray[np.int64], limit: int, seed: int, *, shuffle: bool) -> Packs:
    """Packs of at most `limit` tokens; a longer row is a pack of its own.

    shuffle: windows are drawn by the seed; else they are neighbours, and packs stand in the order of their first rows.
    """
    order_R = permutation(length_R.size, seed, PACK_STREAM) if shuffle else np.arange(length_R.size, dtype=np.int64)
    packs: list[list[int]] = []
    for start in range(0, order_R.size, WINDOW):
        window = order_R[start : start + WINDOW]
        packs += _best_fit(window, length_R[window], limit)
    if not shuffle:
        packs = sorted((sorted(rows) for rows in packs), key=lambda rows: rows[0])
    sizes = [len(rows) for rows in packs]
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    return Packs(np.array([row for rows in packs for row in rows], dtype=np.int64), offsets)


def _best_fit(rows: NDArray[np.int64], length_R: NDArray[np.int64], limit: int) -> list[list[int]]:
    """Each row, the longest first, into the pack that has the least room for it; of equal ones the oldest."""
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # room that is left and the pack's number, smallest first
    for at in np.argsort(-length_R, kind="stable").tolist():
        length = int(length_R[at])
        found = bisect_left(rooms, (length, -1))
        if found < len(rooms):
            room, number = rooms.pop(found)
        else:
            room, number = limit, len(packs)
            packs.append([])
        packs[number].append(int(rows[at]))
        if room > length:
            insort(rooms, (room - length, number))
    return packs
