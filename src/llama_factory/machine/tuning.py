"""Torch made ready for this machine: threads, the memory allocator, the caches of kernels.

In: nothing. Out: a process whose matrix products use every core once, whose large buffers are not
given back to the kernel and zeroed again in every step, and which does not keep a kernel for every
length of batch that it ever saw. Called once, before the first large tensor.
Deliberately touches nothing that the user set in the environment, and never fails a run.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import sys
from pathlib import Path

from llama_factory.machine.facts import describe

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1
_MADV_PAGEOUT = 21
CHATTER = ("bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops")
_KERNELS = 128
"""One forward and backward of a decoder with LoRA needs about 50: attention has shapes of its own."""


def torch_setup() -> None:
    keep_memory()
    forget_kernels()
    hush()
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(describe().cores)


def hush() -> None:
    """Raise the level of loggers that write a line about how they compute, which nobody has to act on.

    peft imports bitsandbytes wherever it is installed, also for a run that never quantises.
    """
    for name in CHATTER:
        logging.getLogger(name).setLevel(logging.ERROR)


def keep_memory() -> bool:
    """Tell glibc to keep what it has and torch to ask for huge pages; False where this is not glibc.

    Both together: without huge pages the kept memory is cut into less useful pieces and the peak is
    higher, huge pages alone are zeroed anew in every step (`benchmarks/allocator.py`).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER)) and bool(mallopt(_M_MMAP_MAX, 0))


def set_aside(address: int, size: int) -> None:
    """Take this memory out of RAM until it is asked for again: what is a copy of a file is read from there.

    Nothing is lost. A system that does not know the request keeps it.
    """
    advise(address, size, _MADV_PAGEOUT)


def set_files_aside(folder: Path) -> None:
    """The same for all that is mapped from files in this folder, and for nothing that was written there since."""
    for start, stop in _mapped(folder.resolve()):
        set_aside(start, stop - start)


def _mapped(folder: Path) -> list[tuple[int, int]]:
    """Addresses, from and to, as `/proc/self/maps` has them: `7f00-7f20 r--p 0 08:01 77  /path`."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.split(maxsplit=5)
        if len(words) == 6 and Path(words[5]).parent == folder:
            start, _, stop = words[0].partition("-")
            found.append((int(start, 16), int(stop, 16)))
    return found


def advise(address: int, size: int, advice: int) -> bool:
    """Ask Linux for something about the whole pages among these bytes; False where it was not done."""
    if not sys.platform.startswith("linux"):
        return False
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return whole > 0 and madvise(start, whole, advice) == 0


def forget_kernels() -> None:
    """Keep the kernels of the last few lengths instead of a thousand.

    oneDNN and torch's layer above it each keep a compiled kernel, about a megabyte, for every shape
    of a matrix product. Without padding nearly every batch has a length of its own: its kernels
    serve all layers of one step and are never asked for again (`benchmarks/kernel_cache.py`).
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(_KERNELS))
