"""What a process takes beside the model: libraries, and kernels that were compiled for the shapes of its products.

In: a `Setup`. Out: bytes that are added to a plan, and how many kernels a micro-batch needs. The bytes were measured
(`benchmarks/plan_calibration.py`) with torch 2.13 and transformers 5; they do not depend on the model.
"""

from __future__ import annotations

from llama_factory.planner.activations import BLOCK, attends_natively
from llama_factory.planner.setup import HALF, PROMPTS, Setup
from llama_factory.records import ModelShape

MB = 2**20

LIBRARIES = 25 * MB
"""The model's own module, and what loading it takes. transformers and peft are there when the plan is made."""

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


WITH_ADAPTER = 8
"""Products of a frozen layer with an adapter: there and back through the weight and through each half, and the
gradients of both halves."""

LEARNING = 3
"""Of a layer that learns: there, back, and its weight's gradient."""

ATTENDING = 6
"""Of a block of queries: scores and sum there, and four on the way back."""


def kernels(shape: ModelShape, setup: Setup) -> int:
    """How many products of different shapes a micro-batch makes in bf16 on a processor; each needs a kernel.

    Layers of one width share them, and so do all layers of a model.
    """
    if not setup.cpu or setup.number != HALF:
        return 0
    widths = {(one.inputs, one.outputs) for layer in shape.layers for one in layer.linears if one.used}
    if setup.method == PROMPTS:  # rows go alone, there and back, through torch's own attention
        return 2 * len(widths) * len(setup.lengths)
    each = LEARNING if setup.method in ("full", "freeze") else WITH_ADAPTER
    blocks = 0 if attends_natively(shape, setup) else -(-max(setup.lengths) // BLOCK)
    return each * len(widths) + ATTENDING * blocks
