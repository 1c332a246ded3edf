"""The learning rate of every step: factors between 0 and 1, equal to `transformers.get_scheduler`'s.

In: a schedule's name, warm-up, the number of steps. Out: a function from the number of updates done
so far to the factor of the next one. Keeps no state, so a resumed run needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Factor = Callable[[int, int, int], float]
"""(updates done, warm-up updates, updates in all) -> factor of the next update."""


def warm(done: int, warmup: int) -> float:
    """Linear rise: the first update has factor 0, update `warmup` has 1."""
    return done / max(1, warmup)


def constant(done: int, warmup: int, total: int) -> float:
    """1 throughout. Like its namesake in transformers it knows no warm-up."""
    return 1.0


def constant_with_warmup(done: int, warmup: int, total: int) -> float:
    return warm(done, warmup) if done < warmup else 1.0


def linear(done: int, warmup: int, total: int) -> float:
    """From 1 at the end of the warm-up to 0 after the last update."""
    if done < warmup:
        return warm(done, warmup)
    return max(0.0, (total - done) / max(1, total - warmup))


def cosine(done: int, warmup: int, total: int) -> float:
    """Half a cosine, Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5 without restarts and down to 0."""
    if done < warmup:
        return warm(done, warmup)
    progress = (done - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


SCHEDULES: Mapping[str, Factor] = {
    "constant": constant,
    "constant_with_warmup": constant_with_warmup,
    "cosine": cosine,
    "linear": linear,
}


def warmup_updates(total: int, *, warmup_steps: int, warmup_ratio: float) -> int:
    """`warmup_steps` when it is given, else that share of the run, rounded up."""
    return warmup_steps if warmup_steps > 0 else math.ceil(total * warmup_ratio)
