"""How a run trains, as far as memory and time go: the values that every formula of this room takes.

In: nothing. Out: a frozen `Setup`, and how many weights of a model it trains. It knows no key of a configuration and no
machine; `recipes.plan` fills it in from a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llama_factory.records import LayerShape, LinearShape, ModelShape

METHODS = ("full", "freeze", "lora", "oft")
"""Those that are understood here. A plan for any other is refused."""

HALF, SINGLE = 2, 4
"""Bytes of a number in bf16 and in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What decides memory and time, beside the model.

    method: one of METHODS. bits: of the weights that stay as they are: 32 or 16 as they are computed with, less when
    they are quantised; each: then bytes of one with its share of the scales, 0: as is usual for its bits. lengths:
    tokens of each row of the largest micro-batch; supervised: the share of them that is learned; micro_batches: of one
    step. number: bytes of a number that is computed with. master: bytes of a trained value; state: bytes of the
    optimiser's state for each; beside: numbers that learn whole beside adapters. block: of `oft`, the width of a
    rotation. layers: of `freeze`, from the top, or from the bottom if negative. fused: our layers take the place of the
    library's. free: bytes of memory that may be taken, which decides whether frozen weights are laid out in the
    processor's order.
    """

    method: str = "lora"
    bits: int = 16
    each: float = 0.0
    lengths: tuple[int, ...] = (1024,)
    supervised: float = 1.0
    micro_batches: int = 1
    number: int = HALF
    master: int = SINGLE
    state: float = 2 * SINGLE
    beside: int = 0
    rank: int = 8
    block: int = 32
    targets: tuple[str, ...] = ("all",)
    layers: int = 2
    checkpointing: bool = False
    fused: bool = True
    cpu: bool = True
    free: int = 0

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def learned(self) -> int:
        """Tokens of the micro-batch whose logits are computed."""
        return min(self.tokens, max(1, round(self.tokens * self.supervised)))

    @property
    def quantised(self) -> bool:
        return self.bits < 8 * HALF


def trained(shape: ModelShape, setup: Setup) -> int:
    """How many numbers are trained."""
    if setup.method == "full":
        return shape.parameters
    if setup.method == "freeze":
        return setup.beside + sum(layer.parameters for layer in chosen_layers(shape, setup.layers))
    found = adapted(shape, setup.targets)
    if setup.method == "oft":  # of a rotation of b numbers, the b (b - 1) / 2 of a skew-symmetric matrix
        return sum(one.inputs // setup.block * (setup.block * (setup.block - 1) // 2) for one in found)
    return setup.beside + setup.rank * sum(one.inputs + one.outputs for one in found)


def chosen_layers(shape: ModelShape, number: int) -> list[LayerShape]:
    """The last layers, or with a negative number the first ones, each by itself."""
    single = [layer for layer in shape.layers for _ in range(layer.count)]
    return single[-number:] if number > 0 else single[:-number]


def adapted(shape: ModelShape, targets: tuple[str, ...]) -> Iterator[LinearShape]:
    """Every matrix that gets an adapter, as often as the model has it. `all` leaves the head alone."""
    every = "all" in targets or not any(
        _named(name, targets) for name in _names(shape)
    )  # patterns: as many as there may be
    for layer in shape.layers:
        for one in layer.linears:
            if one.adapts and (every or _named(one.name, targets)):
                yield from (one for _ in range(layer.count))
    if _named("lm_head", targets):
        yield LinearShape("lm_head", shape.hidden, shape.vocab)


def _names(shape: ModelShape) -> list[str]:
    return ["lm_head", *(one.name for layer in shape.layers for one in layer.linears)]


def _named(name: str, targets: tuple[str, ...]) -> bool:
    return any(name == word or name.endswith(f".{word}") or word.endswith(f".{name}") for word in targets)


def running_layers(shape: ModelShape, setup: Setup) -> int:
    """How many layers keep something for the backward: all above the lowest one that learns."""
    if setup.method != "freeze" or setup.layers < 0 or setup.beside:
        return shape.depth
    return min(setup.layers, shape.depth)
