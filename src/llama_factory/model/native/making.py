"""The kernels' sources made into a library as early as possible: beside the imports of torch and transformers.

In: nothing but this folder. Out: the library, loaded, or CannotCompile with what stood in the way. Light: it imports no
torch by itself.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

from llama_factory.machine import CannotCompile, load_compiled, make_compiled
from llama_factory.storage import cache_folder

SOURCES = ("attention.cpp", "rows.cpp", "products.h", "numbers.h")
NEEDS = frozenset({"avx512f", "avx512_bf16"})


class Making:
    """One library: begun once, waited for by whoever needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._why: CannotCompile | None = None

    def begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._make, name="kernels", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Until it is made, if it was begun: both cores are free again."""
        if self._thread is not None:
            self._thread.join()

    def loaded(self) -> ctypes.CDLL:
        """Raises CannotCompile."""
        self.begin()
        self.wait()
        if self._why is not None:
            raise self._why
        return _with(load_compiled)

    def _make(self) -> None:
        try:
            _with(make_compiled)
        except CannotCompile as error:
            self._why = error


MAKING = Making()

T = TypeVar("T")


def _with(do: Callable[[list[Path], Path, frozenset[str]], T]) -> T:
    try:
        with as_file(files(__package__)) as folder:
            return do([folder / name for name in SOURCES], cache_folder(os.environ) / "kernels", NEEDS)
    except OSError as error:  # the folder of the sources, or that of the cache
        raise CannotCompile("folder", str(error)) from error
