"""Memory made ready before it is asked for, beside other work.

In: a number of bytes that will be needed soon. Out: a process that has them: while weights are read and libraries
imported on one core, another one has the system hand out the pages that the first steps would else wait for, one by
one. It takes nothing from what is in use, never waits, and fails nothing: where the system does not know the request,
everything is as it was.
"""

from __future__ import annotations

import ctypes
import sys
import threading

from llama_factory.machine.facts import free_memory
from llama_factory.machine.tuning import advise, keep_memory

_MADV_POPULATE_WRITE = 23
_PIECE = 64 << 20
"""Asked for at a time, so that nobody else who asks for memory waits long."""


def make_ready(size: int) -> threading.Thread | None:
    """Begin to make `size` bytes ready; the thread that does it, or None where it is not done.

    Not done for more than half of the memory that is free, nor where glibc would give back what is freed.
    """
    if not sys.platform.startswith("linux") or not 0 < size <= free_memory() // 2 or not keep_memory():
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    address = libc.malloc(size)
    if not address:
        return None
    libc.free(address)  # it stays the end of this process's heap: `keep_memory` saw to that
    thread = threading.Thread(target=_populate, args=(address, address + size), name="memory", daemon=True)
    thread.start()
    return thread


def _populate(start: int, stop: int) -> None:
    """Back these addresses with memory; what lies there already stays as it is."""
    for at in range(start, stop, _PIECE):
        if not advise(at, min(_PIECE, stop - at), _MADV_POPULATE_WRITE):
            return
