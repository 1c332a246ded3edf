"""The machine while it trains: it waits, its memory runs out, it becomes slower than it was.

In: the use and the speed of each log line. Out: findings. The limits are those of the table that users know (use above
80 %, memory below 90 %). Each is believed only after several lines in a row that span a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from statistics import median

from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer.health.signs import Sign
from llama_factory.trainer.ports import Progress

USE_PERCENT = 80.0
MEMORY_PERCENT = 90.0
LINES = 5
"""Log lines in a row."""
SECONDS = 60.0
"""So long a machine must have been idle or slow: with less than that there is nothing to win."""
SPEED_LINES = 10
SLOW, CLEARLY_SLOW = 0.75, 0.5
"""Of the best speed that this run held over SPEED_LINES: each of the last so many below the first, their median below
the second."""
FEWER_PERCENT = 10.0
"""Less use of the processor than at the best speed, by so many points, while nothing is free: others have it."""
SWAPPED_BYTES = 256_000_000


class Idle(Sign):
    """threads: that torch computes with."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads
        self._since, self._sum, self._lines = 0.0, 0.0, 0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        usage = progress.usage
        if usage is None:
            return
        percent = usage.cpu_percent if usage.gpu_percent is None else usage.gpu_percent
        if percent >= USE_PERCENT or (usage.gpu_percent is None and self._is_shared(usage)):
            self._lines = 0
            return
        self._since, before = (self._since, self._sum) if self._lines else (progress.elapsed_s, 0.0)
        self._sum, self._lines = before + percent, self._lines + 1
        if self._lines > LINES and progress.elapsed_s - self._since >= SECONDS:
            device = "CPU" if usage.gpu_percent is None else "GPU"
            values = {"device": device, "percent": f"{self._sum / self._lines:.0f}", "limit": f"{USE_PERCENT:.0f}",
                      "lines": self._lines, "threads": self._threads, "step": progress.step}  # fmt: skip
            yield from self.once("trainer.low-use", values)

    def _is_shared(self, usage: Usage) -> bool:
        """What this process does not use, others do: larger batches would not get it."""
        unused = (1 - usage.cpu_percent / 100) * self._threads
        return usage.processors_free is not None and usage.processors_free < unused / 2


class TightMemory(Sign):
    def __init__(self) -> None:
        super().__init__()
        self._tight = 0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        usage = progress.usage
        if usage is None:
            return
        self._tight = self._tight + 1 if usage.memory_percent > MEMORY_PERCENT else 0
        if self._tight >= LINES:
            values = {"percent": f"{usage.memory_percent:.0f}", "limit": f"{MEMORY_PERCENT:.0f}",
                      "gb": f"{usage.memory_gb:.1f}", "lines": self._tight, "step": progress.step}  # fmt: skip
            yield from self.once("trainer.memory-tight", values)


class Sagging(Sign):
    """Tokens a second against the best that this process held, with the likeliest reason that the machine shows."""

    def __init__(self) -> None:
        super().__init__()
        self._speeds: deque[float] = deque(maxlen=SPEED_LINES)
        self._times: deque[float] = deque(maxlen=SPEED_LINES)
        self._cpu: deque[float] = deque(maxlen=SPEED_LINES)
        self._best = self._best_cpu = 0.0

    def logged(self, progress: Progress) -> Iterator[Finding]:
        usage, speed = progress.usage, progress.tokens_per_second
        if usage is None or speed <= 0 or self._said:
            return
        self._speeds.append(speed)
        self._times.append(progress.elapsed_s)
        self._cpu.append(usage.cpu_percent)
        if len(self._speeds) < SPEED_LINES:
            return
        now = median(self._speeds)
        if now >= self._best:
            self._best, self._best_cpu = now, median(self._cpu)
        slow = now < CLEARLY_SLOW * self._best and max(self._speeds) < SLOW * self._best
        if slow and progress.elapsed_s - self._times[0] >= SECONDS:
            values = {"step": progress.step, "now": f"{now:,.0f}", "best": f"{self._best:,.0f}",
                      "cpu": f"{median(self._cpu):.0f}", "then": f"{self._best_cpu:.0f}",
                      "gb": f"{usage.swapped / 1e9:.1f}"}  # fmt: skip
            yield from self.once(self._reason(usage), values)

    def _reason(self, usage: Usage) -> str:
        if usage.swapped >= SWAPPED_BYTES:
            return "trainer.slower-swapping"
        fewer = median(self._cpu) < self._best_cpu - FEWER_PERCENT
        if fewer and usage.processors_free is not None and usage.processors_free < 0.5:
            return "trainer.slower-shared"
        return "trainer.slower"
