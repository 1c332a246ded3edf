"""How fast this computer is, measured in a moment: matrix products, and the memory.

In: the shape of a product and a number format. Out: operations a second, bytes a second. The best of a few tries
counts: whatever else runs makes it slower, never faster. Deliberately keeps nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TRIES = 5
ENOUGH_S = 0.1
"""After so long no other try is begun: a large product that takes long is measured well by one."""

COPIED = 32 << 20


def product_rate(rows: int, inner: int, columns: int, dtype: str) -> float:
    """Floating point operations a second of (rows, inner) x (inner, columns)."""
    import torch

    kind = getattr(torch, dtype)
    left, right = torch.ones(rows, inner, dtype=kind), torch.ones(columns, inner, dtype=kind)
    out = torch.empty(rows, columns, dtype=kind)
    return 2.0 * rows * inner * columns / _best(lambda: torch.mm(left, right.t(), out=out))


def copy_rate() -> float:
    """Bytes a second that are read and written, of buffers too large for a cache."""
    import torch

    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    return 2.0 * COPIED / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object]) -> float:
    work()
    took: list[float] = []
    while len(took) < TRIES and sum(took) < ENOUGH_S:
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return max(min(took), 1e-9)
