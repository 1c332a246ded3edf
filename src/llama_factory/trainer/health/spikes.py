"""A loss that jumps: which step it was, judged against the run's own recent steps.

In: the loss of every step, before its update, and how much it was divided by. Out: a `Spike` at the first step of each
jump. A jump is higher above the median of the last steps than all of these at once: 1.7 times what any of
the last thousand steps was, as a distance and as a ratio; ten times the usual distance; and what the mean over so few
tokens does by chance. Medians, so that one spike does not hide the next; distances from a median that moves along, so
that a loss that falls fast hides none for long. A loss that stays high is one jump.
Deliberately looks at no row: `suspects` does, when there is a spike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import log, sqrt
from statistics import median

NEAR, FAR, OFTEN = 25, 1000, 3
"""Steps: of the median, and of the distances from it. Jumps within FAR after which they count as usual."""
ENOUGH = 50
"""Distances before anything is said: a run has to show first what is usual for it."""
FACTOR_OF_LARGEST = 1.7
"""Above the largest of FAR distances; more where there are fewer, 2.7 at ENOUGH."""
FACTOR_OF_USUAL = 10.0
TO_SIGMA = 1.4826
"""From a median distance to the standard deviation of a normal distribution."""
TOKEN_NOISE = 15.0
"""Six times 2.5 nats, about the standard deviation of one token's loss; divided by the root of their number."""
SHARE, LEAST, TINY = 0.3, 0.2, 1e-3
"""Of the usual loss, and nats: a smaller jump is nothing to look after. The last keeps logarithms finite."""


@dataclass(frozen=True, slots=True)
class Spike:
    """usual: the median of the steps before."""

    loss: float
    usual: float


class Spikes:
    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=NEAR)
        self._above: deque[float] = deque(maxlen=FAR)
        self._ratios: deque[float] = deque(maxlen=FAR)
        self._jumps: deque[int] = deque(maxlen=OFTEN)
        self._seen = 0
        self._is_high = False

    def see(self, loss: float, count: float) -> Spike | None:
        """count: what the loss was divided by (tokens, pairs)."""
        usual = median(self._losses) if self._losses else loss
        above, ratio = loss - usual, log(max(loss, TINY) / max(usual, TINY))
        self._losses.append(loss)
        self._seen += 1
        was_high, self._is_high = self._is_high, self._is_far(above, ratio, max(LEAST, SHARE * abs(usual)), count)
        if not self._is_high or self._is_often():
            self._above.append(above)
            self._ratios.append(ratio)
        if not self._is_high or was_high:
            return None
        self._jumps.append(self._seen)
        return Spike(loss, usual)

    def _is_far(self, above: float, ratio: float, least: float, count: float) -> bool:
        """The cheap questions first: on a usual step nothing is sorted."""
        if above <= max(least, TOKEN_NOISE / sqrt(count)) or len(self._above) < ENOUGH:
            return False
        factor = FACTOR_OF_LARGEST + ENOUGH / len(self._above)
        if above <= factor * max(self._above) or ratio <= factor * max(self._ratios):
            return False
        return above > FACTOR_OF_USUAL * TO_SIGMA * median(abs(one) for one in self._above)

    def _is_often(self) -> bool:
        """So many jumps so close together are how this run is: the next one has to be higher still."""
        return len(self._jumps) == OFTEN and self._seen - self._jumps[0] < FAR
