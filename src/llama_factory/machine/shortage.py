"""Whether an error means that memory ran out, whoever says so.

In: any exception. Out: yes or no, and what it says on one line. torch has a class for it on a GPU and only words on a
CPU, Python has another class, the kernel a number. Deliberately loads no torch, and frees nothing.
"""

from __future__ import annotations

import errno

NAMES = frozenset({"MemoryError", "OutOfMemoryError"})


def is_out_of_memory(error: BaseException) -> bool:
    if NAMES & {kind.__name__ for kind in type(error).__mro__}:
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def first_line(error: BaseException) -> str:
    """What it says, short enough for a letter; the name of its kind where it says nothing."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")[:200]
