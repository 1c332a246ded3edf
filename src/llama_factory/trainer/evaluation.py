"""The loss over rows that are not trained on, with the same objective and the same division as in training.

In: a policy, an objective, a way to go through the validation batches again. Out: an `Evaluate` for the loop.
It generates nothing and knows no metric but the loss: those live in the room `evaluation`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from llama_factory.errors import DataError
from llama_factory.records import Batch
from llama_factory.trainer.ports import Evaluate, Objective, P

LARGEST = math.log(sys.float_info.max)


def mean_loss(policy: P, objective: Objective[P], batches: Callable[[], Iterable[Batch]]) -> Evaluate:
    """`eval_loss` = sum over terms of weight * sum / count, over all batches; several terms are also told one by one.

    batches: called once for every evaluation. The loop switches dropout and gradients off around it.
    """
    return mean_losses(policy, objective, {"eval_loss": batches})


def mean_losses(policy: P, objective: Objective[P], parts: Mapping[str, Callable[[], Iterable[Batch]]]) -> Evaluate:
    """`mean_loss` over the rows of all parts together, and where there are names of their own, of each part alone.

    Each row is computed once: `eval_loss` is not the mean of the parts' losses but that of all their rows.
    """

    def evaluate() -> Mapping[str, float]:
        found = {name: _sums(policy, objective, batches()) for name, batches in parts.items()}
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


def _sums(policy: P, objective: Objective[P], batches: Iterable[Batch]) -> dict[str, _Sum]:
    found: dict[str, _Sum] = {}
    for batch in batches:
        for name, term in objective(policy, batch).items():
            before = found.get(name, _Sum(0.0, 0.0, term.weight))
            found[name] = before.with_more(term.sum.item(), term.count)
    return found


def _loss(terms: Mapping[str, _Sum]) -> float:
    if not terms or not all(one.number > 0 for one in terms.values()):
        raise DataError("trainer.nothing-to-evaluate")
    return sum(one.weight * one.mean for one in terms.values())
