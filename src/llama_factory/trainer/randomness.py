"""The states of the random generators that a forward may draw from: torch (CPU and GPUs), numpy, Python.

In and out: named int64/uint8 tensors, for a safetensors file. Dropout draws from torch's global generators,
so these are captured and put back as they are; nothing here decides a seed but `sow`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def sow(seed: int) -> None:
    """Start all generators from one number."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture() -> dict[str, Tensor]:
    states = {"torch": torch.get_rng_state(), "python": _python_state(), "numpy": _numpy_state()}
    if torch.cuda.is_available():
        states |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def put_back(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["torch"])
    _set_python_state(states["python"])
    _set_numpy_state(states["numpy"])
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{i}"], i)


def _bits(number: float | None) -> int:
    """A float as the integer with the same 64 bits; -1, which is not a number's, for none."""
    return -1 if number is None else int(np.float64(number).view(np.int64))


def _number(bits: int) -> float | None:
    return None if bits == -1 else float(np.int64(bits).view(np.float64))


def _python_state() -> Tensor:
    version, words, gauss = random.getstate()
    return torch.tensor([version, _bits(gauss), *words], dtype=torch.int64)


def _set_python_state(state: Tensor) -> None:
    version, gauss, *words = state.tolist()
    random.setstate((version, tuple(words), _number(gauss)))


def _numpy_state() -> Tensor:
    state: Any = np.random.get_state(legacy=False)
    inner = state["state"]
    return torch.tensor([inner["pos"], state["has_gauss"], _bits(state["gauss"]), *inner["key"].tolist()])


def _set_numpy_state(state: Tensor) -> None:
    position, has_gauss, gauss, *words = state.tolist()
    key = np.array(words, dtype=np.uint32)
    inner = {"key": key, "pos": position}
    gauss = _number(gauss)
    np.random.set_state({"bit_generator": "MT19937", "state": inner, "has_gauss": has_gauss, "gauss": gauss})
