"""The kernels' sources made into a library as early as possible: beside the imports of torch and transformers.

In: nothing but this folder. Out: a file in the cache, for `library` to load. Light: it imports no torch by itself. What
goes wrong beside the imports is left to `library`, which comes to the same place later and says it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import TypeVar

from llama_factory.machine.compiler import CannotCompile, compiled, made
from llama_factory.storage import cache_folder

SOURCES = ("attention.cpp", "rows.cpp", "products.h", "numbers.h")
NEEDS = frozenset({"avx512f", "avx512_bf16"})

T = TypeVar("T")

_EARLY: list[threading.Thread] = []


def begin() -> None:
    """Compile, if it was not begun before and nothing made before is found."""
    if not _EARLY:
        _EARLY.append(threading.Thread(target=_try, name="kernels, early", daemon=True))
        _EARLY[0].start()


def wait() -> None:
    for thread in _EARLY:
        thread.join()


def loaded() -> ctypes.CDLL:
    """The library, made now if need be. Raises CannotCompile."""
    wait()
    try:
        return _with(compiled)
    except OSError as error:  # the folder of the sources, or that of the cache
        raise CannotCompile("folder", str(error)) from error


def _try() -> None:
    with contextlib.suppress(CannotCompile, OSError):
        _with(made)


def _with(make: Callable[..., T]) -> T:
    with as_file(files(__package__)) as folder:
        return make([folder / name for name in SOURCES], cache_folder(os.environ) / "kernels", needs=NEEDS)
