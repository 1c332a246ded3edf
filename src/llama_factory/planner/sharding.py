"""What several GPUs save: each holds a part of the state and fetches the rest when it needs it.

In: the `Memory` of one process that holds everything, a kind of sharding, a number of GPUs. Out: the `Memory` of each.
ZeRO, Rajbhandari et al. 2020 (arXiv 1910.02054), section 5: with N GPUs the first stage keeps 1/N of the optimiser's
state (masters are part of it), the second of the gradients too, the third of the weights too. FSDP is the third. What
every GPU computes for its own rows (activations, logits, buffers) is not divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from llama_factory.planner.memory import Memory
from llama_factory.records import ModelShape

DIVIDED: Mapping[str, tuple[str, ...]] = {
    "ddp": (),
    "zero1": ("masters", "optimiser"),
    "zero2": ("masters", "optimiser", "gradients"),
    "zero3": ("masters", "optimiser", "gradients", "weights"),
    "fsdp": ("masters", "optimiser", "gradients", "weights"),
}
"""The parts that are divided among the GPUs."""

FETCHED = 2
"""Layers whose weights are whole on every GPU at a time: the one that computes, and the next one on its way."""


def sharded(memory: Memory, kind: str, gpus: int, shape: ModelShape, number: int) -> Memory:
    """number: bytes of a weight as it is computed with."""
    parts = {name: ceil(getattr(memory, name) / gpus) for name in DIVIDED[kind]}
    if gpus > 1 and "weights" in parts:
        largest = max(max(layer.parameters for layer in shape.layers), shape.head)
        parts["buffers"] = memory.buffers + FETCHED * largest * number
    return replace(memory, **parts)
