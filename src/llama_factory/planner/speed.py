"""How long a step takes: floating point operations over the speed of matrix products, bytes over that of the memory.

In: a `ModelShape`, a `Setup`, the `Rates` of a machine. Out: seconds. One micro-batch of T tokens takes

    t = F / (products * REACHED) + B / bytes + K * KERNEL_S

and a step the sum over its micro-batches, and the update of what is trained.

F: 2 operations for each weight that a token meets, forward; as many for the gradient of its input, and as many again
for the gradient of a weight that learns. Below the lowest layer that learns there is no backward. Checkpointing makes
the forward of the layers twice. The head is met by learned tokens alone.
B: what is done between the products moves every number that is kept for the backward `PASSES` times.
K: products whose kernel has to be made first (`process.kernels`); without padding nearly every micro-batch has a length
of its own, so this is not over after the first steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llama_factory.planner.activations import computed_scores, kept
from llama_factory.planner.process import kernels
from llama_factory.planner.setup import PROMPTS, SINGLE, Setup, adapted, at_once, chosen_layers, running_layers, trained
from llama_factory.records import ModelShape

PASSES = 14.0
"""How often a number that the backward needs is moved: written and read by the layer that makes it and by the one that
takes it, read again in the backward, its gradient written and read. On a processor each time in fp32, whatever it is
kept in, but for compiled kernels: norms, softmax and activations are computed in it by tensors of their own."""

REACHED = 0.85
"""Of the speed of one product, repeated, that the products of a training reach: their weights are not in a cache, and
those of adapters and attention are narrow."""

KERNEL_S = 0.8e-3
"""Seconds until the kernel of one product in bf16 is made: what its first call takes beyond the second, in seconds of
the processor (`benchmarks/plan_calibration.py --kernels`; 0.4 to 0.8 ms)."""

UPDATE_BYTES = 46
"""Moved for every trained weight in an update: the norm reads its gradient (4), clipping reads and writes it (8), the
fused optimiser reads value, gradient and two moments and writes all but the gradient (28), and the value is rounded
into the working weights (6)."""

COLLECT_BYTES = 10
"""And after every micro-batch: its gradient is read and added to the sum."""

HEAD_PASSES = 20.0
"""Bytes moved for every logit, most of them in fp32 in pieces that stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Rates:
    """products: floating point operations a second in the layers' products; bytes: a second, copied.

    head: operations a second in the product with the head, where it is known to be another.
    """

    products: float
    bytes: float
    name: str = ""
    head: float = 0.0


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as its maker describes it: bytes of memory, dense bf16 operations a second, bytes a second."""

    memory: float
    products: float
    bytes: float


CARDS: Mapping[str, Card] = {
    "t4": Card(16e9, 65e12, 320e9),
    "v100": Card(32e9, 125e12, 900e9),
    "a10": Card(24e9, 125e12, 600e9),
    "l4": Card(24e9, 121e12, 300e9),
    "l40s": Card(48e9, 362e12, 864e9),
    "a6000": Card(48e9, 155e12, 768e9),
    "rtx3090": Card(24e9, 71e12, 936e9),
    "rtx4090": Card(24e9, 165e12, 1008e9),
    "rtx5090": Card(32e9, 210e12, 1792e9),
    "a100-40gb": Card(40e9, 312e12, 1555e9),
    "a100": Card(80e9, 312e12, 2039e9),
    "a800": Card(80e9, 312e12, 2039e9),
    "h100": Card(80e9, 989e12, 3350e9),
    "h800": Card(80e9, 989e12, 3350e9),
    "h20": Card(96e9, 148e12, 4000e9),
    "h200": Card(141e9, 989e12, 4800e9),
}
"""Peaks from the data sheets, without sparsity; those without bf16 (T4, V100) by their fp16."""

UTILISATION = 0.4
"""Of a card's peak that training reaches in its matrix products; published runs lie between 0.3 and 0.5."""


def of_card(name: str) -> Rates:
    card = CARDS[name]
    return Rates(card.products * UTILISATION / REACHED, card.bytes, name)


def operations(shape: ModelShape, setup: Setup) -> float:
    """Floating point operations of one micro-batch in the layers, forward and backward, with adapters and attention."""
    tokens, depth = setup.tokens, shape.depth
    running = running_layers(shape, setup)
    through = 2.0 * tokens * shape.active + _attention(shape, setup)
    forward = through + (through * running / depth if setup.checkpointing else 0.0)
    backward = through * running / depth
    if setup.method in ("full", "freeze"):
        learning = shape.active if setup.method == "full" else _products_of(shape, setup)
        share = setup.active / trained(shape, setup) if setup.active else 1.0
        backward += 2.0 * tokens * learning * share
    elif setup.method != PROMPTS:
        beside = setup.rank * sum(one.inputs + one.outputs for one in adapted(shape, setup.targets))
        forward += 2.0 * tokens * beside * (2 if setup.checkpointing else 1)
        backward += 4.0 * tokens * beside
    return forward + backward


def head_operations(shape: ModelShape, setup: Setup) -> float:
    """The same of the head."""
    rows = setup.tokens if setup.method == PROMPTS else setup.learned
    return 2.0 * rows * shape.head * (3 if setup.learns_whole else 2)


def _products_of(shape: ModelShape, setup: Setup) -> int:
    layers = chosen_layers(shape, setup)
    return sum(one.inputs * one.outputs * one.used for layer in layers for one in layer.linears)


def _attention(shape: ModelShape, setup: Setup) -> float:
    """Both products of a forward over half of the square; the backward's four are counted as two of the forward's."""
    return 2.0 * shape.depth * computed_scores(shape, setup) * (shape.key_width + shape.value_width)


def moved(shape: ModelShape, setup: Setup) -> float:
    """Bytes that one micro-batch moves between the products of its layers."""
    whole = replace(setup, checkpointing=False)
    passes = PASSES * (SINGLE / setup.number if setup.cpu and not setup.takes_kernels else 1)
    backward = passes * kept(shape, whole)
    forward_alone = shape.depth - running_layers(shape, setup)
    if forward_alone:
        every = kept(shape, replace(whole, method="full")) / shape.depth
        backward += passes / 3 * every * forward_alone
    if setup.checkpointing:
        backward *= 4 / 3
    return backward


@dataclass(frozen=True, slots=True)
class Work:
    """Of one update of the weights. operations, head: floating point operations; moved: bytes between the products of
    the layers; rest: bytes of the head and of the update itself; kernels: to be made.
    """

    operations: float
    head: float
    moved: float
    rest: float
    kernels: int

    def seconds(self, rates: Rates) -> float:
        products = self.operations / rates.products + self.head / (rates.head or rates.products)
        return products / REACHED + (self.moved + self.rest) / rates.bytes + self.kernels * KERNEL_S


def work(shape: ModelShape, setup: Setup) -> Work:
    """All micro-batches of a step, alike, and the update."""
    many = setup.micro_batches
    update = (UPDATE_BYTES + COLLECT_BYTES * many) * at_once(shape, setup) * (setup.master / SINGLE)
    return Work(
        operations=many * operations(shape, setup),
        head=many * head_operations(shape, setup),
        moved=many * moved(shape, setup),
        rest=many * HEAD_PASSES * setup.learned * shape.vocab + update,
        kernels=many * kernels(shape, setup),
    )


def step_seconds(shape: ModelShape, setup: Setup, rates: Rates) -> float:
    """Of one update of the weights."""
    return work(shape, setup).seconds(rates)
