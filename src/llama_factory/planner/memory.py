"""How much memory a step takes, part by part, from the shape of a model alone.

In: a `ModelShape` and a `Setup`. Out: `Memory`: bytes by part. No weights are read and nothing is measured; what our
own layers keep for the backward is counted in `activations`, the few numbers that were measured stand in `measured`.

The peak is in the backward of a step that is not the first: weights, masters, gradients and the optimiser's state are
there, and so are the activations of a micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from llama_factory.planner.activations import head_buffers, kept, passing
from llama_factory.planner.setup import HALF, SINGLE, Setup, trained
from llama_factory.records import ModelShape

LAID_OUT_SHARE = 8
"""As in `model/frozen.py`: at most one part in so many of the free memory goes into weights laid out."""

SCALES = {8: 0.25, 4: 0.5, 3: 0.5, 2: 0.5}
"""Bits that quantising adds to every weight: a scale of 16 bits (and a zero) for each group of 64 (HQQ) or 32 bits for
64 weights (bitsandbytes in 4 bit); in 8 bit one scale for a row, rounded up."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. weights: as they lie there, frozen and trained; laid_out: frozen ones once more, in the processor's order;
    masters: the true values of what is trained, where the model computes with others; activations: what the backward
    needs; buffers: what a layer needs while it computes; logits: of the head.
    """

    weights: int
    laid_out: int
    masters: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    buffers: int

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in PARTS)

    @property
    def held(self) -> int:
        """What is there between two steps."""
        return self.weights + self.laid_out + self.masters + self.optimiser


PARTS = ("weights", "laid_out", "masters", "gradients", "optimiser", "activations", "logits", "buffers")


def memory(shape: ModelShape, setup: Setup) -> Memory:
    """Of one process that holds the whole model; `sharding` divides it."""
    learning = trained(shape, setup)
    own = setup.number == SINGLE or setup.master == HALF
    laid = laid_out(shape, setup)
    return Memory(
        weights=weights(shape, setup) - laid // 2,  # what lies there in another order is taken out of RAM
        laid_out=laid,
        masters=0 if own else setup.master * learning,
        gradients=setup.master * learning,
        optimiser=setup.state * learning,
        activations=kept(shape, setup),
        logits=head_buffers(shape, setup),
        buffers=passing(shape, setup) + _whole_gradient(shape, setup),
    )


def weights(shape: ModelShape, setup: Setup) -> int:
    """The base, and beside it what is trained and is not part of it."""
    beside = trained(shape, setup) * setup.number if setup.method not in ("full", "freeze") else 0
    if not setup.quantised:
        return shape.parameters * setup.number + beside
    inside = sum(layer.count * one.copies * one.inputs * one.outputs for layer in shape.layers for one in layer.linears)
    bits = setup.bits + SCALES[setup.bits]
    return int(inside * bits / 8) + (shape.parameters - inside) * setup.number + beside


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


def _whole_gradient(shape: ModelShape, setup: Setup) -> int:
    """A gradient in the working format stands beside its sum in fp32 until it is added: the largest one counts."""
    if setup.method != "full":
        return 0
    return shape.head * setup.number
