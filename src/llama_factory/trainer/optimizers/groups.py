"""Which parameters are moved alike: by the same multiple of the rate, with or without decay, projected or whole.

In: masters by name, the module they belong to, the plan. Out: parameter groups as torch's optimizers take them, and
the names that GaLore, APOLLO and Muon work on. It updates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from llama_factory.errors import InputError
from llama_factory.model.methods.names import has_part, is_linear, linear_names
from llama_factory.trainer.plan import FitPlan

Group = dict[str, Any]

FACTOR = "factor"
"""Of a group: how many times the schedule's rate moves it."""

_UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(^|[._])norm($|\.)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a maker is given: the masters by name, the module they belong to, and the plan."""

    values: Mapping[str, Tensor]
    module: nn.Module
    plan: FitPlan

    def groups(self, names: Iterable[str] | None = None, **more: Any) -> list[Group]:
        """Parameter groups of these names (of all, where none are given), `more` in each of them."""
        pulled = set(decayed(self.module, list(self.values)))
        found: dict[tuple[float, bool], list[Tensor]] = {}
        for name in self.values if names is None else names:
            key = (self.plan.rate_factors.get(name, 1.0), name not in pulled)
            found.setdefault(key, []).append(self.values[name])
        return [
            {"params": found[key], "weight_decay": 0.0 if key[1] else self.plan.weight_decay, FACTOR: key[0], **more}
            for key in sorted(found)
        ]

    def split(self, chosen: Iterable[str]) -> tuple[list[str], list[str]]:
        """All names in their order: the chosen ones, and the others."""
        inside = set(chosen)
        return [name for name in self.values if name in inside], [name for name in self.values if name not in inside]

    @property
    def betas(self) -> tuple[float, float]:
        return (self.plan.adam_beta1, self.plan.adam_beta2)


def decayed(module: nn.Module, names: list[str]) -> list[str]:
    """Of these parameters, those that weight decay pulls on: all but biases and the scales of norms.

    The same choice as `transformers.Trainer` makes, by name and by layer type (a test compares them).
    """
    norms = tuple(f"{name}." for name, layer in module.named_modules() if isinstance(layer, nn.LayerNorm))
    return [name for name in names if not _UNDECAYED.search(name.lower()) and not name.startswith(norms)]


def hidden_matrices(asked: Asked) -> list[str]:
    """Names of the matrices of linear layers that are trained, the output head left out."""
    if hasattr(asked.module, "get_output_embeddings"):
        layers = set(linear_names(asked.module))
    else:
        layers = {name for name, layer in asked.module.named_modules() if is_linear(layer)}
    return [name for name, value in asked.values.items() if value.ndim == 2 and name.removesuffix(".weight") in layers]


def projected(asked: Asked) -> list[str]:
    """Names of the matrices that the plan's low rank works on. A rank that saves nothing is refused."""
    rank, words = asked.plan.low_rank.rank, asked.plan.low_rank.targets
    matrices = hidden_matrices(asked)
    chosen = matrices
    if words != ("all",):
        every = [name for name, value in asked.values.items() if value.ndim == 2]
        for word in words:
            if not any(has_part(name, word) for name in every):
                known = sorted({part for name in every for part in name.split(".")[:-1] if not part.isdigit()})
                raise InputError("trainer.no-optimizer-target", found=word, known=", ".join(known))
        chosen = [name for name in every if any(has_part(name, word) for word in words)]
    if not chosen:
        raise InputError("trainer.no-optimizer-target", found="all", known="-")
    for name in chosen:
        shape = asked.values[name].shape
        if rank >= min(shape):
            raise InputError("trainer.rank-too-large", where=name, rank=rank, shape=f"{shape[0]} x {shape[1]}")
    return chosen
