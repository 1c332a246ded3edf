"""What a process takes beside the model: libraries, and kernels that were compiled for the shapes of its products.

In: a `Setup`. Out: bytes that are added to a plan. The numbers were measured (`benchmarks/plan_calibration.py`) with
torch 2.13 and transformers 5; they do not depend on the model.
"""

from __future__ import annotations

from llama_factory.planner.setup import HALF, Setup

MB = 2**20

LIBRARIES = 135 * MB
"""transformers, peft and the model's own module, loaded after the rows are ready."""

KERNEL = 0.65 * MB
KERNELS = 128
"""oneDNN keeps a compiled kernel for each of the last shapes that it multiplied in bf16; `machine/tuning.py` sets how
many. Without padding nearly every micro-batch has a length of its own, so they are soon all there."""

CUDA = 600 * MB
"""What a process takes of a GPU's memory before anything is in it: the context and the kernels of the libraries."""


def process(setup: Setup) -> int:
    if not setup.cpu:
        return CUDA
    return LIBRARIES + (int(KERNELS * KERNEL) if setup.number == HALF else 0)
