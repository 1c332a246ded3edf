"""Schedule-free optimizers: what is trained is not what is used.

They hold a parameter at y, between the newest point z and the average x (arXiv 2405.15682, eq. 3-5): gradients are
taken at y, and x is the model. Their package moves the parameters from y to x and back for an evaluation, which
rounds: evaluating more often would change the run. Here x is worked out beside y, which is left alone, so an
evaluation, a checkpoint and the result have x, and training goes on at y to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from llama_factory.trainer.optimizers.engine import Engine


class Averaged(Engine):
    def __init__(self, parts: Sequence[torch.optim.Optimizer], values: Mapping[str, Tensor]) -> None:
        super().__init__(parts, values)
        self._begin()

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        super().load(tensors, facts)
        self._begin()

    def result(self) -> dict[str, Tensor]:
        """x = y + (1 - 1/beta1) (z - y), as the package's `eval()` has it; y itself for what was never touched."""
        found = super().result()
        for part in self._parts:
            for group in part.param_groups:
                beta1 = group["betas"][0] if "betas" in group else group["momentum"]
                for value in group["params"]:
                    if "z" in part.state.get(value, {}):
                        end = part.state[value]["z"].to(value.device)
                        found[self._names[value]] = value.detach().lerp(end, 1 - 1 / beta1)
        return found

    def _begin(self) -> None:
        """The parameters are at y. The package's own `train()` would move them there from x."""
        for group in self._groups():
            group["train_mode"] = True
