"""The loss over rows that are not trained on, with the same objective and the same division as in training.

In: a policy, an objective, a way to go through the validation batches again. Out: an `Evaluate` for the loop.
Memory that runs out is answered as in training (`room`): the same rows in smaller batches, which stay that small. The
figures are sums over rows, so they do not depend on it but for the order of summation. It generates nothing and knows
no metric but the loss: those live in the room `evaluation`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

from llama_factory.errors import DataError, MachineError
from llama_factory.machine import first_line, is_out_of_memory
from llama_factory.records import Batch, Finding, Step
from llama_factory.trainer.ports import Evaluate, Objective, P
from llama_factory.trainer.room import OutOfRoom, Room, give_back

Notice = Callable[[Finding], None]

LARGEST = math.log(sys.float_info.max)


def _silent(finding: Finding) -> None:
    """Nobody listens."""


def mean_loss(policy: P, objective: Objective[P], batches: Callable[[], Iterable[Batch]]) -> Evaluate:
    """`eval_loss` = sum over terms of weight * sum / count, over all batches; several terms are also told one by one.

    batches: called once for every evaluation. The loop switches dropout and gradients off around it.
    """
    return mean_losses(policy, objective, {"eval_loss": batches})


def mean_losses(
    policy: P,
    objective: Objective[P],
    parts: Mapping[str, Callable[[], Iterable[Batch]]],
    notice: Notice = _silent,
) -> Evaluate:
    """`mean_loss` over the rows of all parts together, and where there are names of their own, of each part alone.

    Each row is computed once: `eval_loss` is not the mean of the parts' losses but that of all their rows.
    notice: hears where memory ran out. MachineError where a row alone does not fit.
    """
    judge = _Judge(policy, objective, notice)

    def evaluate() -> Mapping[str, float]:
        found = {name: judge.sums(batches()) for name, batches in parts.items()}
        whole: dict[str, _Sum] = {}
        for one in found.values():
            for term, sums in one.items():
                whole[term] = whole[term].with_more(sums.total, sums.number) if term in whole else sums
        each = {f"eval_{term}": sums.mean for term, sums in whole.items()} if len(whole) > 1 else {}
        alone = {name: _loss(one) for name, one in found.items() if name != "eval_loss"}
        return {"eval_loss": _loss(whole), **each, **alone}

    return evaluate


def with_perplexity(evaluate: Evaluate | None) -> Evaluate | None:
    """The same figures and `eval_perplexity`, e to the `eval_loss`: among how many tokens the model is undecided."""
    if evaluate is None:
        return None

    def evaluated() -> Mapping[str, float]:
        found = evaluate()
        loss = found["eval_loss"]
        return {**found, "eval_perplexity": math.exp(loss) if loss < LARGEST else math.inf}

    return evaluated


class _Sum(NamedTuple):
    total: float
    number: float
    weight: float

    def with_more(self, total: float, count: float) -> _Sum:
        return _Sum(self.total + total, self.number + count, self.weight)

    @property
    def mean(self) -> float:
        return self.total / self.number


@dataclass(slots=True)
class _Judge(Generic[P]):
    """room: how much is computed at a time; smaller once memory ran out."""

    policy: P
    objective: Objective[P]
    notice: Notice
    room: Room = field(default_factory=Room)

    def sums(self, batches: Iterable[Batch]) -> dict[str, _Sum]:
        found: dict[str, _Sum] = {}
        for batch in batches:
            for name, weight, total, count in self._terms(batch):
                found[name] = found.get(name, _Sum(0.0, 0.0, weight)).with_more(total, count)
        return found

    def _terms(self, batch: Batch) -> list[tuple[str, float, float, float]]:
        """Name, weight, sum and count of each term of the batch, in as many parts as there is room for."""
        tried, reason = 0, ""
        while True:
            try:
                parts = self.room.cut(Step(batches=(batch,), counts={}, epoch=0.0)).batches
                found = [term for part in parts for term in self._in_memory(part)]
            except OutOfRoom as told:
                failed, reason = told.batch, told.reason
            else:
                if tried:
                    values = {"tokens": tried, "now": self.room.limit, "reason": reason}
                    self.notice(Finding("trainer.evaluation-halved", "warning", values=values))
                return found
            give_back()
            tokens = int(failed.ids_T.size)
            if not self.room.can_shrink(failed):
                raise MachineError("trainer.no-memory-for-evaluation", tokens=tokens, reason=reason, kept="")
            self.room.shrink(failed)
            tried = tried or tokens

    def _in_memory(self, batch: Batch) -> list[tuple[str, float, float, float]]:
        """`OutOfRoom` is raised after the error is gone, whose frames would keep the tensors alive."""
        try:
            terms = self.objective(self.policy, batch)
            return [(name, term.weight, term.sum.item(), term.count) for name, term in terms.items()]
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        raise OutOfRoom(batch, reason)


def _loss(terms: Mapping[str, _Sum]) -> float:
    if not terms or not all(one.number > 0 for one in terms.values()):
        raise DataError("trainer.nothing-to-evaluate")
    return sum(one.weight * one.mean for one in terms.values())
