"""The loss over rows that are not trained on, with the same objective and the same division as in training.

In: a policy, an objective, a way to go through the validation batches again. Out: an `Evaluate` for the loop.
It generates nothing and knows no metric but the loss: those live in the room `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from llama_factory.errors import DataError
from llama_factory.records import Batch
from llama_factory.trainer.ports import Evaluate, Objective, P


def mean_loss(policy: P, objective: Objective[P], batches: Callable[[], Iterable[Batch]]) -> Evaluate:
    """`eval_loss` = sum over terms of weight * sum / count, over all batches; several terms are also told one by one.

    batches: called once for every evaluation. The loop switches dropout and gradients off around it.
    """

    def evaluate() -> Mapping[str, float]:
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        weights: dict[str, float] = {}
        for batch in batches():
            for name, term in objective(policy, batch).items():
                sums[name] = sums.get(name, 0.0) + term.sum.item()
                counts[name] = counts.get(name, 0.0) + term.count
                weights[name] = term.weight
        if not sums or not all(count > 0 for count in counts.values()):
            raise DataError("trainer.nothing-to-evaluate")
        means = {name: total / counts[name] for name, total in sums.items()}
        each = {f"eval_{name}": mean for name, mean in means.items()} if len(means) > 1 else {}
        return {"eval_loss": sum(weights[name] * mean for name, mean in means.items()), **each}

    return evaluate
