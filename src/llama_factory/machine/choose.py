"""Device and number format of a run, from what the user wrote and what the machine can do.

In: the switches of the configuration. Out: a device name and a `Precision` with everything that
must be said about it. A request that this machine would only imitate is answered with the more
exact format, aloud. GPUs are asked through torch, and only where one is seen.
Deliberately loads no torch for a run on the processor with `device_map: cpu`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llama_factory.errors import InputError
from llama_factory.machine.facts import Machine, describe
from llama_factory.records import Finding

Format = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Precision:
    """compute: format of frozen weights and matrix products; master: of trained weights and optimiser state."""

    compute: Format
    master: Literal["float32", "bfloat16"]
    said: tuple[Finding, ...] = ()


def pick_device(device_map: str | None = None) -> str:
    if device_map == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device_map == "cuda":
        raise InputError("machine.no-cuda", where="device_map")
    return "cpu"


def pick_precision(
    bf16: bool | None, fp16: bool | None, pure_bf16: bool, *, device: str = "cpu", machine: Machine | None = None
) -> Precision:
    """One of the tutorials writes `fp16: true` beside `bf16: false`: there the false only excludes the other."""
    has_bf16 = _has_bf16(device, machine)
    if pure_bf16:
        return Precision("bfloat16", "bfloat16", (Finding("machine.pure-bf16", "warning", "pure_bf16"),))
    if fp16:
        taken: Format = "bfloat16" if has_bf16 else "float32"
        return Precision(taken, "float32", (Finding("machine.no-fp16", "note", "fp16", {"taken": taken}),))
    if bf16 and not has_bf16:
        return Precision("float32", "float32", (Finding("machine.no-bf16", "warning", "bf16"),))
    if bf16 is False or not has_bf16:
        return Precision("float32", "float32")
    return Precision("bfloat16", "float32")


def _has_bf16(device: str, machine: Machine | None) -> bool:
    if device == "cpu":
        return (machine or describe()).computes_bf16
    import torch

    return bool(torch.cuda.is_bf16_supported())
