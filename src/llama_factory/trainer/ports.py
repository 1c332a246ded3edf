"""What the loop needs from the other rooms, as protocols: it is handed values and imports nobody.

In: nothing. Out: the shapes of a policy, a source, an objective, a term and an observer, and the small
frozen values that observers are told. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor, nn

from llama_factory.machine import Usage
from llama_factory.records import Batch, Finding, Step


class PolicyLike(Protocol):
    """A model that is trained. The objective knows more of it than the loop does."""

    @property
    def module(self) -> nn.Module: ...

    def trainable(self) -> Mapping[str, nn.Parameter]:
        """Parameters that are trained, by their name in `module.named_parameters()`."""
        ...


class TermLike(Protocol):
    """One named part of the loss over one micro-batch: see `losses.term.Term`."""

    @property
    def sum(self) -> Tensor: ...

    @property
    def count(self) -> float: ...

    @property
    def weight(self) -> float: ...


class Source(Protocol):
    """An endless supply of steps that can be put back to where it was."""

    @property
    def steps_per_epoch(self) -> int: ...

    def next_step(self) -> Step: ...

    def state(self) -> Mapping[str, int]: ...

    def restore(self, state: Mapping[str, int]) -> None: ...

    def on_update(self, version: int) -> None:
        """The weights have changed for the `version`-th time: rollouts that were made before are older now."""
        ...


P = TypeVar("P", bound=PolicyLike)
P_contra = TypeVar("P_contra", bound=PolicyLike, contravariant=True)


class Objective(Protocol[P_contra]):
    """One micro-batch forward: `(policy, batch) -> named terms`, at most a few lines in a recipe."""

    def __call__(self, policy: P_contra, batch: Batch, /) -> Mapping[str, TermLike]: ...


Evaluate = Callable[[], Mapping[str, float]]
"""Runs over the validation rows and returns figures by name, `eval_loss` among them."""

SaveModel = Callable[[Path, Mapping[str, Tensor]], None]
"""Writes the model's own files into a folder; the mapping has the trained values (fp32 masters) by name."""

Origin = Callable[[int], str]
"""The place a row came from, for messages: row 17 of the store -> `train.jsonl:812`."""


@dataclass(frozen=True, slots=True)
class Start:
    """Told once, before the first step of this process. skipped: batches that were passed over before it."""

    first_step: int
    total_steps: int
    steps_per_epoch: int
    trained_parameters: int
    resumed_from: Path | None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the run is. In `stepped`, `loss` is that step's; in `logged`, the mean since the last log line.

    terms: the loss by term, before weights; told when there is more than one.
    tokens_per_second: real tokens (there is no padding) over the time spent in steps.
    usage: of the machine in these steps; told in `logged` only.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    elapsed_s: float
    remaining_s: float
    terms: Mapping[str, float] = field(default_factory=dict)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one evaluation, under the names that `Evaluate` gave them."""

    step: int
    total_steps: int
    epoch: float
    metrics: Mapping[str, float]
    elapsed_s: float
    remaining_s: float


class Observer(Protocol):
    """Listens. Nothing it returns is read, and one that fails is dropped and named, once."""

    def started(self, start: Start) -> None: ...

    def stepped(self, progress: Progress) -> None: ...

    def logged(self, progress: Progress) -> None: ...

    def evaluated(self, evaluation: Evaluation) -> None: ...

    def saved(self, step: int, folder: Path) -> None: ...

    def noticed(self, finding: Finding) -> None: ...

    def ended(self) -> None:
        """Always the last call, also after an error or Ctrl-C."""
        ...
