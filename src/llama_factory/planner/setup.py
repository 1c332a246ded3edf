"""How a run trains, as far as memory and time go: the values that every formula of this room takes.

In: nothing. Out: a frozen `Setup`, and how many weights of a model it trains. It knows no key of a configuration and no
machine; `recipes.plan` fills it in from a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llama_factory.records import LayerShape, LinearShape, ModelShape

PROMPTS = "prompts"
"""The method of all that learns tokens before every row: p_tuning, prompt_tuning, prefix_tuning."""

HALF, SINGLE = 2, 4
"""Bytes of a number in bf16 and in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What decides memory and time, beside the model.

    method: full, freeze, lora, oft or PROMPTS. bits: of the weights that stay as they are: 32 or 16 as they are
    computed with, less when they are quantised; each: then bytes of one with its share of the scales, 0: as is usual
    for its bits. lengths: tokens of each row of the largest micro-batch; supervised: the share of them that is
    learned; micro_batches: of one step. number: bytes of a number that is computed with. master: bytes of a trained
    value; state: bytes of the optimiser's state for each that learns now; active: numbers that learn at a time, 0:
    all (BAdam: one block). beside: numbers that learn whole beside adapters or layers, or before the rows; before:
    tokens that stand before every row. block: of `oft`, the width of a rotation. layers: of `freeze`, from the top,
    or from the bottom if negative; blocks: in place of them, so many that are evenly spread (LLaMA Pro); modules:
    their parts that learn. reference: the base lies there once more, as it was. fused: our layers take the place of
    the library's; native: kernels are compiled on this machine; rounds: the layers round what they read (bitsandbytes
    8), which must have torch's bits. free: bytes of memory that may be taken, which decides whether frozen weights are
    laid out in the processor's order.
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
    active: int = 0
    beside: int = 0
    before: int = 0
    rank: int = 8
    block: int = 32
    targets: tuple[str, ...] = ("all",)
    layers: int = 2
    blocks: int = 0
    modules: tuple[str, ...] = ("all",)
    reference: bool = False
    checkpointing: bool = False
    fused: bool = True
    native: bool = False
    rounds: bool = False
    cpu: bool = True
    free: int = 0

    @property
    def tokens(self) -> int:
        """What the layers compute of a micro-batch."""
        return sum(self.lengths) + self.before * len(self.lengths)

    @property
    def learned(self) -> int:
        """Tokens of the micro-batch that are learned, whose logits are computed."""
        return self.learned_of(sum(self.lengths))

    def learned_of(self, tokens: int) -> int:
        return min(tokens, max(1, round(tokens * self.supervised)))

    @property
    def learns_whole(self) -> bool:
        """The head and the embedding too."""
        return self.method == "full" and not self.active

    @property
    def takes_kernels(self) -> bool:
        """The compiled ones, which are for bf16."""
        return self.native and self.cpu and self.number == HALF and not self.rounds

    @property
    def quantised(self) -> bool:
        return self.bits < 8 * HALF


def trained(shape: ModelShape, setup: Setup) -> int:
    """How many numbers are trained."""
    if setup.method == "full":
        return shape.parameters
    if setup.method == "freeze":
        return setup.beside + sum(_chosen_numbers(layer, setup.modules) for layer in chosen_layers(shape, setup))
    if setup.method == PROMPTS:
        return setup.beside
    found = adapted(shape, setup.targets)
    if setup.method == "oft":  # of a rotation of b numbers, the b (b - 1) / 2 of a skew-symmetric matrix
        return sum(one.inputs // setup.block * (setup.block * (setup.block - 1) // 2) for one in found)
    return setup.beside + setup.rank * sum(one.inputs + one.outputs for one in found)


def at_once(shape: ModelShape, setup: Setup) -> int:
    """How many numbers have a gradient and a state of the optimiser at a time."""
    return setup.active or trained(shape, setup)


def chosen_layers(shape: ModelShape, setup: Setup) -> list[LayerShape]:
    """Of `freeze`: the last layers, the first ones, or the last of each group, each by itself."""
    single = [layer for layer in shape.layers for _ in range(layer.count)]
    if setup.blocks:
        group = max(1, len(single) // setup.blocks)
        return single[group - 1 :: group]
    return single[-setup.layers :] if setup.layers > 0 else single[: -setup.layers]


def _chosen_numbers(layer: LayerShape, modules: tuple[str, ...]) -> int:
    if "all" in modules:
        return layer.parameters
    return sum(
        one.copies * (one.inputs * one.outputs + one.outputs * one.bias)
        for one in layer.linears
        if not set(one.name.split(".")).isdisjoint(modules)
    )


def with_blocks(shape: ModelShape, blocks: int) -> ModelShape:
    """The model once so many copies of blocks are among its own, one behind each group (`model/expansion.py`)."""
    single = [layer for layer in shape.layers for _ in range(layer.count)]
    group = max(1, len(single) // blocks) if blocks else len(single) + 1
    found = (replace(layer, count=2 if at % group == 0 else 1) for at, layer in enumerate(single, start=1))
    return replace(shape, layers=tuple(found)) if blocks else shape


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
    if setup.method != "freeze" or (setup.layers < 0 and not setup.blocks) or setup.beside:
        return shape.depth
    if setup.blocks:
        return shape.depth - shape.depth // setup.blocks + 1
    return min(setup.layers, shape.depth)
