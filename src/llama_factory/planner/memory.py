"""How much memory a step takes, part by part, from the shape of a model alone.

In: a `ModelShape` and a `Setup`. Out: `Memory`: bytes by part. No weights are read and nothing is measured; what our
own layers keep for the backward is counted in `activations`, the few numbers that were measured stand in `measured`.

The peak is in the backward of a step that is not the first: weights, masters, gradients and the optimiser's state are
there, and so are the activations of a micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from llama_factory.config.bits import bytes_per_weight
from llama_factory.planner.activations import head_buffers, kept, passing
from llama_factory.planner.setup import HALF, PROMPTS, SINGLE, Setup, at_once, trained
from llama_factory.records import ModelShape

LAID_OUT_SHARE = 8
"""As in `model/frozen.py`: at most one part in so many of the free memory goes into weights laid out."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. weights: as they lie there, frozen and trained; laid_out: frozen ones once more, in the processor's order;
    masters: the true values of what is trained, where the model computes with others; activations: what the backward
    needs; buffers: what a layer needs while it computes; logits: of the head. holes: memory between tensors that no
    other fits into; saving: the file of the result, mapped
    while it is read again and compared.
    """

    weights: int
    laid_out: int
    masters: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    buffers: int
    holes: int
    saving: int

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in PARTS)

    @property
    def held(self) -> int:
        """What is there between two steps."""
        return self.weights + self.laid_out + self.masters + self.optimiser


PARTS = (
    "weights", "laid_out", "masters", "gradients", "optimiser", "activations", "logits", "buffers", "holes", "saving",
)  # fmt: skip

HOLES = {HALF: 0.30, SINGLE: 0.05}
"""Of what comes and goes within a step, by the bytes of a number: without padding no two micro-batches ask for the same
sizes, and what one leaves between tensors that stay is seldom what the next one asks for. A GPU's allocator is taken to
lose a tenth."""
GPU_HOLES = 0.10

PLACES = 20
"""Only in bf16 on a processor: oneDNN leaves each new kernel where there is room just then, between the tensors of a
step, and keeps it while they go. The room between two of them is too short for the widest tensor about so often."""

REMADE = 0.35
"""Also only there: of the sums of gradients, which go after every update and come again while activations are there."""


def memory(shape: ModelShape, setup: Setup) -> Memory:
    """Of one process that holds the whole model; `sharding` divides it."""
    learning, now = trained(shape, setup), at_once(shape, setup)
    keeps, logits = kept(shape, setup), head_buffers(shape, setup)
    buffers = passing(shape, setup) + _whole_gradients(shape, setup)
    own = setup.number == SINGLE or setup.master == HALF or setup.method == PROMPTS
    laid = laid_out(shape, setup)
    return Memory(
        weights=weights(shape, setup) - _set_aside(shape, laid),
        laid_out=laid,
        masters=0 if own else setup.master * learning,
        gradients=setup.master * now,
        optimiser=round(setup.state * now),
        activations=keeps,
        logits=logits,
        buffers=buffers,
        holes=_holes(shape, setup, keeps + logits + buffers),
        saving=shape.parameters * setup.number if setup.method in ("full", "freeze") and setup.cpu else 0,
    )


def _holes(shape: ModelShape, setup: Setup, passing: int) -> int:
    """Bytes between tensors. passing: what comes and goes within a step. The three constants were measured together
    (`benchmarks/plan_calibration.py`)."""
    if not setup.cpu:
        return int(GPU_HOLES * passing)
    found = HOLES[setup.number] * passing
    if setup.number == HALF:
        found += PLACES * widest(shape, setup)
        if setup.master == SINGLE:
            found += REMADE * setup.master * at_once(shape, setup)
    return int(found)


def widest(shape: ModelShape, setup: Setup) -> int:
    """Bytes of the widest tensor that a layer gives: all tokens, as wide as the MLP inside."""
    return setup.tokens * setup.number * max(one.inputs * one.used for layer in shape.layers for one in layer.linears)


def weights(shape: ModelShape, setup: Setup) -> int:
    """The base, twice where a loss is measured from it, and beside it what is trained and is not part of it."""
    format = SINGLE if setup.method == PROMPTS else setup.number
    beside = trained(shape, setup) * format if setup.method not in ("full", "freeze") else 0
    beside += shape.parameters * setup.number if setup.reference else 0
    if not setup.quantised:
        return shape.parameters * setup.number + beside
    inside = sum(layer.count * one.copies * one.inputs * one.outputs for layer in shape.layers for one in layer.linears)
    each = setup.each or bytes_per_weight(setup.bits, scale_bytes=setup.number)
    return int(inside * each) + (shape.parameters - inside) * setup.number + beside


def laid_out(shape: ModelShape, setup: Setup) -> int:
    """Both orders of the frozen matrices that have adapters, and of the head: on processors that compute in bf16."""
    if setup.method != "lora" or not (setup.fused and setup.cpu) or setup.number != HALF or setup.quantised:
        return 0
    inside = sum(
        layer.count * one.inputs * one.outputs for layer in shape.layers for one in layer.linears if one.adapts
    )
    return would_lay_out((inside + shape.head) * HALF, setup.free)


def would_lay_out(weight_bytes: int, free: int) -> int:
    """The rule of `model/frozen.py`, which a test compares with this."""
    return 2 * weight_bytes if 2 * weight_bytes * LAID_OUT_SHARE <= free else 0


def _set_aside(shape: ModelShape, laid: int) -> int:
    """What lies there in another order is taken out of RAM, but for a head that is the embedding too, and is read."""
    return laid // 2 - (shape.head * HALF if shape.tied and laid else 0)


def _whole_gradients(shape: ModelShape, setup: Setup) -> int:
    """Gradients in the working format stand beside their sum until they are added: of the embedding and of the head."""
    return 2 * shape.head * setup.number if setup.learns_whole else 0
