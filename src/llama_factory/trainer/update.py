"""One update of the weights, or the reason why there is none.

In: a step, the learning rate, the state of the random generators before it. Out: its loss and gradient norm, the
weights moved. The update is made only after loss and gradient were seen to be finite and the gradient not to be zero.
Memory that runs out is answered here: the same step again in smaller micro-batches, which stay that small.
An update that changes nothing ends the run, but for an optimiser that is known to rest at first.
It saves nothing and does not decide whether the run goes on without the step: the loop does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor

from llama_factory.config.optimizers import OPTIMIZERS
from llama_factory.errors import DivergedError, MachineError
from llama_factory.machine import first_line, is_out_of_memory
from llama_factory.records import Finding, Step
from llama_factory.trainer import randomness
from llama_factory.trainer.accumulate import StepLoss, accumulate, name_rows
from llama_factory.trainer.health import SPIKES_NAMED, Health, suspects
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.optimizers import Optimizer
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import Objective, Origin, P
from llama_factory.trainer.room import OutOfRoom, Room, give_back

Notice = Callable[[Finding], None]

NO_MEMORY = "trainer.no-memory-for-row"
"""The error after which no smaller micro-batch is left to try."""

HALF_MADE = frozenset({"trainer.nothing-learned", "trainer.no-memory-for-update"})
"""Errors of the update itself: there is no state before the step left that could be saved."""


@dataclass(slots=True)
class Updater(Generic[P]):
    """notice: hears what was done about memory and what was seen. room: how much is computed at a time; smaller once
    memory ran out. moved: whether an update of this process changed a number; still: how many in a row did not."""

    policy: P
    objective: Objective[P]
    plan: FitPlan
    masters: Masters
    optimizer: Optimizer
    origin: Origin
    health: Health
    notice: Notice
    room: Room = field(default_factory=Room)
    moved: bool = False
    still: int = 0

    def make(self, step: Step, number: int, rate: float, before: Mapping[str, Tensor]) -> tuple[StepLoss, float]:
        """Step `number` at this learning rate; before: the generators' states as the step found them.

        Raises DivergedError where the numbers are no good, MachineError where a single row does not fit into memory.
        The weights are then as they were; gradients and generators are not. An error of HALF_MADE came later: the
        optimiser, and maybe the weights, are no longer what they were.
        """
        loss = self._loss(step, number, before)
        norm = self._norm(step, number, loss)
        self._look(step, number, loss)
        self.masters.clip(norm, self.plan.max_grad_norm)
        self._move(number, rate)
        self.masters.forget_gradients()
        self.masters.to_working()
        return loss, norm

    def refuse_still(self, number: int) -> None:
        """A run that ends while its optimiser still rests has trained nothing."""
        if self.still:
            raise DivergedError("trainer.only-rested", step=number, optimizer=self.plan.optim)

    def _loss(self, step: Step, number: int, before: Mapping[str, Tensor]) -> StepLoss:
        """Gradients of the whole step. A part that did not fit begins the step anew: its gradients were half made."""
        tried, reason = 0, ""
        while True:
            try:
                cut = self.room.cut(step)
                loss = accumulate(self.policy, self.objective, cut, number=number, origin=self.origin)
                self._tell_of_room(number, tried, reason)
                return loss
            except OutOfRoom as told:
                batch, reason = told.batch, told.reason
            except DivergedError:
                self._tell_of_room(number, tried, reason)
                raise
            self.masters.forget_gradients()
            randomness.put_back(before)
            give_back()
            tokens = int(batch.ids_T.size)
            if not self.room.can_shrink(batch):
                rows = name_rows([batch], self.origin)
                values = {"step": number, "tokens": tokens, "rows": rows, "reason": reason, "kept": ""}
                raise MachineError(NO_MEMORY, **values)
            self.room.shrink(batch)
            tried = tried or tokens

    def _tell_of_room(self, number: int, tried: int, reason: str) -> None:
        """Once a step, when it was computed: an attempt that ends in nothing is no advice."""
        if tried:
            values = {"step": number, "tokens": tried, "now": self.room.limit, "reason": reason}
            self.notice(Finding("trainer.micro-batch-halved", "warning", values=values))

    def _look(self, step: Step, number: int, loss: StepLoss) -> None:
        """Name the rows of a loss that jumps, while the weights are still those that it was found with."""
        spike = self.health.spikes.see(loss.loss, min(step.counts.values()))
        if spike is None or self.health.spikes_named == SPIKES_NAMED:
            return
        self.health.spikes_named += 1
        rows = suspects.loudest(suspects.row_losses(self.policy, self.objective, self.room.cut(step).batches))
        values = {
            "step": number, "loss": f"{spike.loss:.4f}", "usual": f"{spike.usual:.4f}",
            "rows": suspects.spoken(rows, self.origin) or name_rows(step.batches, self.origin),
        }  # fmt: skip
        self.notice(Finding("trainer.loss-spike", "warning", values=values))

    def _move(self, number: int, rate: float) -> None:
        """The update; on log steps with a look at how far it moved the weights, and at the first whether it did."""
        updates, values = self.health.updates, self.masters.values
        sample = updates.before(values, rate) if number % self.plan.logging_steps == 0 else None
        before = self.masters.glance() if rate > 0 and not self.moved else None
        self._update(number, rate)
        if before is not None:
            self._see_it_moved(before, number, rate)
        if sample is not None:
            for finding in updates.after(sample, values, number, rate):
                self.notice(finding)

    def _update(self, number: int, rate: float) -> None:
        """An optimiser makes its state in its first step: what did not fit then will not fit with fewer rows."""
        try:
            self.optimizer.step(rate)
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            values = {"step": number, "optimizer": self.plan.optim, "reason": first_line(error), "kept": ""}
            raise MachineError("trainer.no-memory-for-update", **values) from None

    def _see_it_moved(self, before: list[float], number: int, rate: float) -> None:
        """The first updates at a rate must change something, or the optimiser is at work on other numbers."""
        self.moved = before != self.masters.glance()
        self.still = 0 if self.moved else self.still + 1
        if self.still > OPTIMIZERS[self.plan.optim].rests:
            raise DivergedError("trainer.nothing-learned", step=number, rate=rate, kept="")

    def _norm(self, step: Step, number: int, loss: StepLoss) -> float:
        norm = self.masters.gradient_norm()
        if 0.0 < norm < float("inf"):
            return norm
        rows = name_rows(step.batches, self.origin)
        if norm == 0.0:
            raise DivergedError("trainer.gradient-zero", step=number, loss=loss.loss, rows=rows, kept="")
        first = next((n for n, g in self.masters.gradients().items() if not torch.isfinite(g).all()), "-")
        raise DivergedError(
            "trainer.gradient-not-finite", step=number, found=norm, parameter=first, rows=rows, kept=""
        )  # fmt: skip
