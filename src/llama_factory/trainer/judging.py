"""The loss on rows that are not trained on.

In: a policy, an objective, a way to go through the validation rows once. Out: an `Evaluate`. Each term is
summed over all micro-batches and divided once, as in training; logits never leave the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from llama_factory.records import Batch
from llama_factory.trainer.ports import Evaluate, Objective, P


def judge(policy: P, objective: Objective[P], batches: Callable[[], Iterable[Batch]]) -> Evaluate:
    """`{"eval_loss": ...}`, the objective's value over all rows; with several terms, each under `eval_<name>` too."""

    def evaluate() -> Mapping[str, float]:
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        weights: dict[str, float] = {}
        for batch in batches():
            for name, term in objective(policy, batch).items():
                sums[name] = sums.get(name, 0.0) + float(term.sum)
                counts[name] = counts.get(name, 0.0) + term.count
                weights[name] = term.weight
        means = {name: sums[name] / counts[name] for name in sums}
        whole = {"eval_loss": sum(weights[name] * mean for name, mean in means.items())}
        return whole if len(means) == 1 else whole | {f"eval_{name}": mean for name, mean in means.items()}

    return evaluate
