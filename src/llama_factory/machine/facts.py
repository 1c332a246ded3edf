"""What this computer is, read from the kernel's own files.

In: `/proc` and `/sys`. Out: a frozen `Machine`. In a container the numbers are the container's:
the processors that this process may use and the memory that it may take, not those of the host.
Deliberately loads no torch, starts no process, and decides nothing.
"""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""x86 has the first two, 64-bit ARM the last one."""
_FLAGS = _BF16_FLAGS | {"avx2", "avx512f", "avx512_vnni", "amx_int8", "amx_tile", "fma", "asimd", "sve", "i8mm"}


@dataclass(frozen=True, slots=True)
class Machine:
    """cores: whole processor cores that this process may use; threads: the same in hardware threads; ram: bytes."""

    cpu: str
    cores: int
    threads: int
    ram: int
    flags: frozenset[str]
    gpus: tuple[str, ...]

    @property
    def computes_bf16(self) -> bool:
        """The processor multiplies bf16 itself; others imitate it, slower than float32."""
        return bool(self.flags & _BF16_FLAGS)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of this process in RAM: now, and the most there ever was."""

    current: int
    peak: int


def describe(root: Path = Path("/")) -> Machine:
    """`root` is where `proc` and `sys` are found."""
    blocks = [_fields(block) for block in _read(root / "proc/cpuinfo").strip().split("\n\n") if block.strip()]
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    mine = [block for block in blocks if int(block.get("processor", -1)) in usable]
    first = (mine or blocks or [{}])[0]
    quota = _cpu_quota(root)
    threads = max(1, math.ceil(min(quota, len(usable))))
    places = {(block.get("physical id", "0"), block["core id"]) for block in mine if "core id" in block}
    flags = frozenset((first.get("flags") or first.get("Features") or "").split()) & _FLAGS
    return Machine(
        cpu=first.get("model name") or platform.processor() or platform.machine(),
        cores=max(1, min(len(places) or threads, threads)),
        threads=threads,
        ram=int(min(_ram(root), _ram_limit(root))),
        flags=flags,
        gpus=_gpus(root),
    )


def memory(root: Path = Path("/")) -> Memory:
    """For the log: cheap enough for every step."""
    lines = _fields(_read(root / "proc/self/status"))
    if "VmRSS" in lines:
        current = _kilobytes(lines["VmRSS"])
        return Memory(current, max(current, _kilobytes(lines.get("VmHWM", "0"))))
    import resource

    import psutil

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, the only system that comes here
    current = int(psutil.Process().memory_info().rss)
    return Memory(current, max(current, peak))


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that may still be taken: what the system calls available, within the limit of this process's group."""
    found = _fields(_read(root / "proc/meminfo")).get("MemAvailable")
    left = _ram_limit(root) - memory(root).current
    return int(min(_kilobytes(found) if found else _ram(root), max(0, left)))


def _ram(root: Path) -> int:
    total = _fields(_read(root / "proc/meminfo")).get("MemTotal")
    if total:
        return _kilobytes(total)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _ram_limit(root: Path) -> float:
    limits = [_read(folder / "memory.max").strip() for folder in _control_groups(root)]
    limits.append(_read(root / "sys/fs/cgroup/memory/memory.limit_in_bytes").strip())
    return min((int(text) for text in limits if text.isdigit()), default=2**63)


def _cpu_quota(root: Path) -> float:
    quota = math.inf
    for folder in _control_groups(root):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():
            quota = min(quota, int(words[0]) / int(words[1]))
    old = root / "sys/fs/cgroup/cpu"
    allowed, period = _read(old / "cpu.cfs_quota_us").strip(), _read(old / "cpu.cfs_period_us").strip()
    if allowed.isdigit() and period.isdigit():
        quota = min(quota, int(allowed) / int(period))
    return quota


def _control_groups(root: Path) -> list[Path]:
    """The group of this process and all above it: the tightest limit holds."""
    top = root / "sys/fs/cgroup"
    folders = [top]
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            for part in Path(line[4:]).parts:
                folders.append(folders[-1] / part)
    return folders


def _gpus(root: Path) -> tuple[str, ...]:
    """Cards that NVIDIA's driver knows. What torch can use is torch's to say, in `pick_device`."""
    found = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_fields(_read(path)).get("Model", path.parent.name) for path in found)


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
