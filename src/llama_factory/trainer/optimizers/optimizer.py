"""The optimizer of a run, addressed by name. See the package's own words for what goes in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.records import Finding
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.optimizers.groups import Asked
from llama_factory.trainer.optimizers.makers import MAKERS
from llama_factory.trainer.optimizers.state import Facts
from llama_factory.trainer.plan import FitPlan


class Optimizer:
    """`result` is what to evaluate, save and hand out: with most optimizers the masters themselves."""

    def __init__(self, masters: Masters, module: nn.Module, plan: FitPlan) -> None:
        for value in masters.values.values():
            value.requires_grad_(True)  # some packages pass over a parameter without it
        self._masters = masters
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)  # BAdam draws the order of its blocks when it is made
            self._engine = MAKERS[plan.optim](Asked(masters.values, module, plan))

    def step(self, learning_rate: float) -> None:
        self._engine.step(learning_rate)

    def state(self) -> tuple[dict[str, Tensor], Facts]:
        """`exp_avg/<name>` and the like, nothing for a parameter never touched so far; and what the state has beside
        tensors, as JSON holds it, empty with AdamW."""
        return self._engine.state()

    def load(self, state: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> None:
        self._engine.load(state, facts or {})

    def result(self) -> dict[str, Tensor]:
        return self._engine.result()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the model has the weights of `result`; afterwards those that it is trained at, to the bit."""
        with self._masters.showing(self.result()):
            yield

    def settle(self) -> None:
        """After the last step: the masters and the model become the result."""
        self._masters.become(self.result())

    def said(self) -> list[Finding]:
        """What is worth a line since the last call: which block BAdam trains now."""
        return self._engine.said()
