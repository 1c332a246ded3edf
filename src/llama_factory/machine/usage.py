"""How much of this machine a process uses: processor or GPU, memory, and whether others leave it any.

In: seconds that somebody counted (of a processor, of a clock). Out: a frozen `Usage`. The processor is read from the
kernel's files; a GPU through torch's own interfaces (`torch.cuda.utilization`, `max_memory_allocated`), and what
these cannot say is None. Deliberately gives no advice and loads torch only where there is a GPU to be asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from llama_factory.machine.facts import describe, memory


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu_percent: of the threads that torch computes with. gpu_percent: None without a GPU, or where none can tell.

    memory: bytes of this process, on the GPU (at their most) where there is one, else in RAM. memory_percent: of all
    that there is.
    swapped: bytes of this process that lie on the disk instead.
    processors_free: how many processors of the machine did nothing, None where the kernel does not say.
    """

    cpu_percent: float
    gpu_percent: float | None
    memory: int
    memory_percent: float
    processors_free: float | None = None
    swapped: int = 0

    @property
    def memory_gb(self) -> float:
        return self.memory / 1e9

    def figures(self) -> dict[str, float]:
        """Under the names that logs use."""
        shown = {} if self.gpu_percent is None else {"gpu_percent": round(self.gpu_percent, 1)}
        return {
            "cpu_percent": round(self.cpu_percent, 1),
            **shown,
            "memory_gb": round(self.memory_gb, 3),
            "memory_percent": round(self.memory_percent, 1),
        }


class Gauge:
    """Reads again and again. device: where the model computes, as torch names it."""

    def __init__(self, threads: int, device: str = "cpu", root: Path = Path("/")) -> None:
        self._threads = max(1, threads)
        self._device = device
        self._root = root
        self._ram = describe(root).ram
        self._ticks = _ticks(root)

    def read(self, busy_s: float, cpu_s: float) -> Usage:
        """busy_s: seconds of work since the last reading; cpu_s: what all threads of this process computed in them."""
        free = self._free()
        percent = 100 * cpu_s / (busy_s * self._threads) if busy_s > 0 else 0.0
        if self._device.startswith("cuda"):
            use, taken, total = _gpu(self._device)
        else:
            use, taken, total = None, memory(self._root).current, self._ram
        return Usage(min(percent, 100.0), use, taken, 100 * taken / total if total else 0.0, free, _swapped(self._root))

    def _free(self) -> float | None:
        """Processors that did nothing since the last reading, on average."""
        before, self._ticks = self._ticks, _ticks(self._root)
        if before is None or self._ticks is None or self._ticks[1] <= before[1]:
            return None
        idle, total = self._ticks[0] - before[0], self._ticks[1] - before[1]
        return max(0.0, idle / total) * (os.cpu_count() or 1)


def _ticks(root: Path) -> tuple[int, int] | None:
    """Of all processors since the machine started: idle, and all."""
    try:
        with (root / "proc/stat").open(encoding="ascii") as file:
            words = file.readline().split()
    except (OSError, ValueError):
        return None
    if len(words) < 6 or words[0] != "cpu":
        return None
    ticks = [int(word) for word in words[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _swapped(root: Path) -> int:
    """VmSwap of this process; 0 where the kernel does not say."""
    try:
        text = (root / "proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmSwap:")), 0)


def _gpu(device: str) -> tuple[float | None, int, int]:
    """Use in percent, the most bytes that this process's tensors took, bytes that there are."""
    import torch

    taken, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
    try:
        use: float | None = float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError, OSError, AttributeError):  # needs NVIDIA's own library beside torch
        use = None
    return use, taken, total
