"""What is known of every optimizer before one is made: its package, its memory, its usual rates, its settings.

One table, read by the rules of the configuration, by `trainer.optimizers` (which has a maker for each kind) and by
whoever plans memory. Several names may mean one kind. Names that cannot work here stand in REFUSED with the letter
that says why and what can.
What it deliberately does not do: import torch or a package, or know a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["number", "positive", "whole", "flag"]

KINDS: Mapping[Kind, str] = {"number": "float", "positive": "float > 0", "whole": "int >= 1", "flag": "true | false"}
"""How a letter says what a setting must be."""

ADAM = frozenset({"adam_beta1", "adam_beta2", "adam_epsilon"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """state: bytes that it keeps for each trained number, beside the number itself and its gradient.

    rates: the usual learning rates are AdamW's times these (lowest, highest). reads: which of the adam_* keys it knows.
    betas: its own where the file gives none. args: what `optim_args` may set. projects: works in a low rank.
    averages: the weights to use are not those that are being trained. rests: so many of its first updates may move
    nothing, by its formula.
    """

    state: float
    library: str = ""
    rates: tuple[float, float] = (1.0, 1.0)
    reads: frozenset[str] = ADAM
    betas: tuple[float, float] = (0.9, 0.999)
    args: Mapping[str, Kind] = field(default_factory=dict)
    projects: bool = False
    averages: bool = False
    rests: int = 0


_BETAS = ADAM - {"adam_epsilon"}
_LOW_RANK: Mapping[str, Kind] = {"rank": "whole", "update_proj_gap": "whole", "scale": "positive"}
_BNB = "bitsandbytes"

OPTIMIZERS: Mapping[str, Facts] = {
    "adamw": Facts(state=8),
    "adamw_bnb": Facts(state=8, library=_BNB),
    "adamw_8bit": Facts(state=2.03, library=_BNB),
    "adafactor": Facts(
        state=0.02, reads=frozenset(), rates=(1.0, 30.0),
        args={"clip_threshold": "number", "decay_rate": "number", "beta1": "number"},
    ),
    "adagrad": Facts(state=4, reads=frozenset(), rates=(10.0, 300.0), args={"lr_decay": "number", "eps": "number"}),
    "ademamix": Facts(state=12, library=_BNB, args={"beta3": "number", "alpha": "number"}),
    "ademamix_8bit": Facts(state=3.05, library=_BNB, args={"beta3": "number", "alpha": "number"}),
    "lion": Facts(state=4, library="lion-pytorch", rates=(0.1, 0.34), reads=_BETAS, betas=(0.9, 0.99)),
    "lion_bnb": Facts(state=4, library=_BNB, rates=(0.1, 0.34), reads=_BETAS, betas=(0.9, 0.99)),
    "lion_8bit": Facts(state=1.02, library=_BNB, rates=(0.1, 0.34), reads=_BETAS, betas=(0.9, 0.99)),
    "rmsprop": Facts(
        state=4, reads=frozenset(), args={"momentum": "number", "alpha": "number", "eps": "number"},
    ),
    "rmsprop_bnb": Facts(
        state=4, library=_BNB, reads=frozenset(), args={"momentum": "number", "alpha": "number", "eps": "number"},
    ),
    "rmsprop_8bit": Facts(
        state=1.02, library=_BNB, reads=frozenset(), args={"momentum": "number", "alpha": "number", "eps": "number"},
    ),
    "sgd": Facts(
        state=0, reads=frozenset(), rates=(100.0, 10000.0),
        args={"momentum": "number", "dampening": "number", "nesterov": "flag"},
    ),
    "galore_adamw": Facts(state=8, library="galore-torch", rates=(1.0, 30.0), args=_LOW_RANK, projects=True),
    "galore_adafactor": Facts(
        state=0.02, library="galore-torch", rates=(1.0, 30.0), reads=frozenset(), args=_LOW_RANK, projects=True,
    ),
    "apollo_adamw": Facts(state=8, library="apollo-torch", rates=(1.0, 30.0), args=_LOW_RANK, projects=True),
    "adam_mini": Facts(state=4, library="adam-mini"),
    "muon": Facts(state=4, args={"momentum": "number", "ns_steps": "whole", "nesterov": "flag"}),
    "badam_layer": Facts(state=12, library="badam"),
    "badam_ratio": Facts(state=8, library="badam"),
    "schedule_free_adamw": Facts(
        state=8, library="schedulefree", rates=(1.0, 10.0), averages=True,
        args={"r": "number", "weight_lr_power": "number"},
    ),
    "schedule_free_radam": Facts(
        state=8, library="schedulefree", rates=(1.0, 10.0), averages=True, rests=5,
        args={"r": "number", "weight_lr_power": "number"},
    ),
    "schedule_free_sgd": Facts(
        state=4, library="schedulefree", rates=(100.0, 10000.0), reads=frozenset({"adam_beta1"}), averages=True,
        args={"r": "number", "weight_lr_power": "number"},
    ),
}  # fmt: skip

NAMES: Mapping[str, str] = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adafactor": "adafactor",
    "adagrad": "adagrad",
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
    "ademamix": "ademamix",
    "ademamix_8bit": "ademamix_8bit",
    "lion": "lion",
    "lion_32bit": "lion",
    "lion_8bit": "lion_8bit",
    "paged_adamw": "adamw_bnb",
    "paged_adamw_32bit": "adamw_bnb",
    "paged_adamw_8bit": "adamw_8bit",
    "paged_ademamix_32bit": "ademamix",
    "paged_ademamix_8bit": "ademamix_8bit",
    "paged_lion_32bit": "lion_bnb",
    "paged_lion_8bit": "lion_8bit",
    "rmsprop": "rmsprop",
    "rmsprop_bnb": "rmsprop_bnb",
    "rmsprop_bnb_32bit": "rmsprop_bnb",
    "rmsprop_bnb_8bit": "rmsprop_8bit",
    "sgd": "sgd",
    "galore_adamw": "galore_adamw",
    "galore_adafactor": "galore_adafactor",
    "apollo_adamw": "apollo_adamw",
    "adam_mini": "adam_mini",
    "muon": "muon",
    "schedule_free_adamw": "schedule_free_adamw",
    "schedule_free_radam": "schedule_free_radam",
    "schedule_free_sgd": "schedule_free_sgd",
}
"""What may stand after `optim:`, and the kind that it means. A `paged_` one pages its state out of a GPU."""

UNPAGED: Mapping[str, str] = {
    "paged_adamw": "adamw_torch",
    "paged_adamw_32bit": "adamw_torch",
    "paged_adamw_8bit": "adamw_8bit",
    "paged_ademamix_32bit": "ademamix",
    "paged_ademamix_8bit": "ademamix_8bit",
    "paged_lion_32bit": "lion",
    "paged_lion_8bit": "lion_8bit",
}
"""The same formula where there is nothing to page out of."""

REFUSED: Mapping[str, str] = {
    "adamw_torch_xla": "config.optimizer-other-machine",
    "adamw_torch_npu_fused": "config.optimizer-other-machine",
    "adamw_apex_fused": "config.optimizer-other-machine",
    "adamw_anyprecision": "config.optimizer-gone",
    "adamw_torch_4bit": "config.optimizer-compiles",
    "adamw_torch_8bit": "config.optimizer-compiles",
    "galore_adamw_8bit": "config.optimizer-cuda-only",
    "galore_adamw_8bit_layerwise": "config.optimizer-cuda-only",
    "galore_adamw_layerwise": "config.optimizer-in-backward",
    "galore_adafactor_layerwise": "config.optimizer-in-backward",
    "apollo_adamw_layerwise": "config.optimizer-in-backward",
    "lomo": "config.optimizer-in-backward",
    "adalomo": "config.optimizer-in-backward",
    "grokadamw": "config.optimizer-gone",
    "stable_adamw": "config.optimizer-gone",
}
"""Names that are known and cannot be had, with the letter that says why and what can."""

RESTING = re.compile("embed|wte|lm_head")
"""Names of what BAdam never trains, as its package has it; with `badam_layer` nothing outside the layers learns."""

MODULES: Mapping[str, str] = {
    "adam-mini": "adam_mini", "apollo-torch": "apollo_torch", "badam": "badam", "bitsandbytes": "bitsandbytes",
    "galore-torch": "galore_torch", "lion-pytorch": "lion_pytorch", "schedulefree": "schedulefree",
}  # fmt: skip
"""What is imported of a package."""


def extra_of(library: str) -> str:
    """The extra of this program that brings the package."""
    return "quant" if library == _BNB else "optim"


def state_bytes(kind: str, shape: tuple[int, ...], *, rank: int = 0, blocks: int = 1, ratio: float = 1.0) -> float:
    """Bytes of state for one trained tensor of this shape.

    rank: of GaLore and APOLLO, for a matrix that they work on; 0 for one that is trained in full. With rank r a
    matrix of n * m numbers, n <= m, keeps 2 * r * m (AdamW's moments; Adafactor's are r + m) and, unless it is
    APOLLO's random one that is drawn anew, a projection of n * r. blocks: into how many parts BAdam cuts the model
    (layer mode keeps the state of one at a time). ratio: `badam_update_ratio`.
    """
    facts, count = OPTIMIZERS[kind], 1
    for size in shape:
        count *= size
    matrix = len(shape) >= 2
    if facts.projects and rank and matrix:
        short, long = min(shape[-2:]), max(shape[-2:])
        moments = 4.0 * (rank + long) if kind == "galore_adafactor" else 8.0 * rank * long
        return moments + 4.0 * short * rank
    if kind in ("adafactor", "galore_adafactor"):
        return 4.0 * (count / shape[-1] + count / shape[-2]) if matrix else 4.0 * count
    if kind == "adam_mini":
        return 4.0 * count + (4.0 * count / shape[-1] if matrix else 4.0)
    if kind == "muon":
        return (4.0 if matrix else 8.0) * count
    if kind == "badam_layer":
        return facts.state * count / blocks
    if kind == "badam_ratio":
        return facts.state * count * ratio
    if facts.library == _BNB and kind.endswith("_8bit") and count < 4096:  # bitsandbytes leaves small ones in fp32
        return 4.0 * count * round(facts.state)
    return facts.state * count
