"""Torch made ready for this machine: threads and the memory allocator.

In: nothing. Out: a process whose matrix products use every core once, and whose large buffers are
not given back to the kernel and zeroed again in every step. Called once, before the first large tensor.
Deliberately touches nothing that the user set in the environment, and never fails a run.
"""

from __future__ import annotations

import ctypes
import os
import sys

from llama_factory.machine.facts import describe

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def torch_setup() -> None:
    keep_memory()
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(describe().cores)


def keep_memory() -> bool:
    """Tell glibc to keep what it has and torch to ask for huge pages; False where this is not glibc."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)) and bool(mallopt(_M_MMAP_MAX, 0))
