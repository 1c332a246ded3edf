"""The kernels of this folder, compiled and loaded: when they are taken, and how Python calls them.

In: tensors. Out: the calls for their format, or None where torch's own ways are taken: float32, no compiler, another
processor or device, or a run that asked for that (`fused_layers: false`). Compiling goes on beside other work
(`making`) and is waited for by the first call. Before they are used the kernels are compared with torch on small
numbers; where they differ, they are not used, and `told` says so.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from llama_factory.machine import CannotCompile
from llama_factory.model.native import proof
from llama_factory.model.native.making import MAKING
from llama_factory.records import Finding

FORMATS = {torch.float32: 0, torch.bfloat16: 1}
TAKEN = frozenset({torch.bfloat16})
"""Where they are taken. In float32 they are only compared with their formulas: there torch's ways, in which others
compute, are held to 1e-5 of a gradient, and another order of the same sums is as far as that."""

STRUCT = "p"
CALLS = {
    "attention_forward": STRUCT,
    "attention_backward": STRUCT,
    "norm_forward": "llppfppl",
    "norm_backward": "llpppppl",
    "norm_weight": "llppppl",
    "gated_forward": "llpppl",
    "gated_backward": "llppppl",
    "rotate": "lllpllpppll",
    "logprobs": "llppfpll",
}
"""What each kernel is given: l a number of things, f a float, p an address, the number of threads at the end; or one
structure, and then it says whether memory was enough."""

NOT_FOR_US = ("system", "processor")
"""Why there are no kernels on a machine that they are not written for: nothing that its user could change."""

KINDS = {"l": ctypes.c_long, "f": ctypes.c_float, "p": ctypes.c_void_p}


class Library:
    """Kernels by name; a call gives tensors for addresses and leaves out the number of threads."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        self._both = {name: self._pair(loaded, name, kinds) for name, kinds in CALLS.items()}

    @staticmethod
    def _pair(loaded: ctypes.CDLL, name: str, kinds: str) -> list[Callable[..., bool | None]]:
        addresses = (ctypes.c_void_p * len(FORMATS)).in_dll(loaded, f"{name}_in")
        result = ctypes.c_bool if kinds == STRUCT else None
        kind = ctypes.CFUNCTYPE(result, *[KINDS[letter] for letter in kinds])  # type: ignore[arg-type]
        return [kind(address) for address in addresses if address]

    def call(self, name: str, dtype: torch.dtype, *given: Tensor | float) -> None:
        words = [it.data_ptr() if isinstance(it, Tensor) else it for it in given]
        self._both[name][FORMATS[dtype]](*words, torch.get_num_threads())

    def call_with(self, name: str, dtype: torch.dtype, struct: ctypes.Structure) -> None:
        """Raises MemoryError."""
        if not self._both[name][FORMATS[dtype]](ctypes.addressof(struct)):
            raise MemoryError(name)


class _Native:
    """One for the process, as the processor is, with torch's switches as its pattern: `wanted` may be set."""

    def __init__(self) -> None:
        self.wanted = True
        self.why: CannotCompile | None = None
        self._lock = threading.Lock()
        self._found: Library | None = None
        self._looked = False

    def library(self) -> Library | None:
        if not self.wanted:
            return None
        if not self._looked:
            with self._lock:
                self._look()
        return self._found

    def _look(self) -> None:
        """In the thread that computes: torch gives each thread that computes others to help it."""
        if self._looked:
            return
        try:
            found = Library(MAKING.loaded())
            if different := proof.first_that_differs(found):
                raise CannotCompile("different", different)
            self._found = found
        except CannotCompile as error:
            self.why = error
        self._looked = True


NATIVE = _Native()


def use(wanted: bool) -> None:
    """Take the kernels from now on, or not; compiling begins, if they are."""
    NATIVE.wanted = wanted
    if wanted:
        MAKING.begin()


def library_for(*tensors: Tensor) -> Library | None:
    """The kernels, where they are to be used for these tensors: in bf16, on the processor."""
    first = tensors[0]
    if first.dtype not in TAKEN or any(it.device.type != "cpu" or it.dtype != first.dtype for it in tensors):
        return None
    return NATIVE.library()


def told() -> list[Finding]:
    """Why the kernels are not taken, where they were wanted and are made for this processor."""
    if NATIVE.library() is not None or NATIVE.why is None or NATIVE.why.why in NOT_FOR_US:
        return []
    return [Finding(f"model.native-{NATIVE.why.why}", "note", "", {"found": NATIVE.why.found})]
