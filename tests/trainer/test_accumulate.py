"""The one division: terms with counts of their own, any split into micro-batches, and steps that cannot be right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainer_toys import ToyPolicy, objective, toy_source

from llama_factory.errors import DataError, DivergedError, OurFault
from llama_factory.losses import Term, token_nll
from llama_factory.records import Batch, Step
from llama_factory.trainer.accumulate import accumulate, name_rows


class OneWeight:
    """loss terms are w times what the batch says."""

    def __init__(self) -> None:
        self.module = nn.Module()
        self.w = self.module.w = nn.Parameter(torch.tensor(2.0))

    def trainable(self) -> dict[str, nn.Parameter]:
        return {"w": self.w}


def numbers(*values: float) -> Batch:
    weight_T = np.array(values, dtype=np.float32)
    ids_T = np.zeros(len(values), dtype=np.int32)
    return Batch(ids_T, weight_T, np.array([0, len(values)]), np.array([7]))


def two_terms(policy: OneWeight, batch: Batch) -> Mapping[str, Term]:
    values = torch.from_numpy(batch.weight_T)
    return {
        "tokens": Term((policy.w * values).sum(), float(values.numel()), weight=1.0),
        "pairs": Term((policy.w**2).sum(), 1.0, weight=0.5),
    }


def test_two_terms_are_each_divided_by_their_own_count_once() -> None:
    """By hand: tokens = 2 (1+2+3+4+5) / 5 = 6, pairs = (4+4) / 2 = 4; d/dw = 15/5 + 0.5 * 2w = 3 + 2."""
    policy = OneWeight()
    step = Step((numbers(1, 2, 3, 4), numbers(5)), {"tokens": 5.0, "pairs": 2.0}, epoch=0.0)
    found = accumulate(policy, two_terms, step, number=1, origin=str)
    assert found.terms == {"tokens": 6.0, "pairs": 4.0}
    assert found.loss == 6.0 + 0.5 * 4.0
    assert policy.w.grad is not None
    assert policy.w.grad.item() == pytest.approx(5.0, rel=1e-6)


def gradients_of(rows_per_batch: int) -> tuple[float, dict[str, Tensor]]:
    policy = ToyPolicy()
    step = toy_source(rows_per_step=12, rows_per_batch=rows_per_batch).next_step()
    assert len(step.batches) == -(-12 // rows_per_batch)
    loss = accumulate(policy, objective, step, number=1, origin=str).loss
    return loss, {name: p.grad for name, p in policy.trainable().items() if p.grad is not None}


def test_gradients_are_the_same_for_any_split_into_micro_batches() -> None:
    whole, expected = gradients_of(12)
    tried = 0
    for rows_per_batch in (1, 2, 3, 5, 6, 11):
        loss, found = gradients_of(rows_per_batch)
        assert loss == pytest.approx(whole, rel=1e-6)
        for name, gradient in expected.items():
            assert (found[name] - gradient).norm() <= 1e-6 * gradient.norm(), name
        tried += 1
    assert tried == 6
    assert len(expected) == 7


def test_a_mean_of_means_would_have_been_another_gradient() -> None:
    """The trap itself: rows of different lengths, each micro-batch divided by its own count."""
    _, right = gradients_of(12)
    policy = ToyPolicy()
    batches = toy_source(rows_per_step=12, rows_per_batch=2).next_step().batches
    for batch in batches:
        term = token_nll(*policy.logprobs(batch))
        (term.sum / term.count / len(batches)).backward()
    wrong = policy.module.head.weight.grad
    assert wrong is not None
    assert (wrong - right["head.weight"]).norm() > 1e-2 * right["head.weight"].norm()


@pytest.mark.parametrize("count", [0.0, float("nan")])
def test_a_step_without_anything_to_learn_is_refused_before_its_forward(count: float) -> None:
    def explode(policy: OneWeight, batch: Batch) -> Mapping[str, Term]:
        raise AssertionError("no forward expected")

    step = Step((numbers(1.0),), {"sft": count}, epoch=0.0)
    with pytest.raises(DataError, match=r"train.jsonl:7") as caught:
        accumulate(OneWeight(), explode, step, number=3, origin=lambda row: f"train.jsonl:{row}")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_names_the_rows_of_its_micro_batch_and_leaves_no_gradient(value: float) -> None:
    policy = OneWeight()
    bad = Batch(np.zeros(1, np.int32), np.array([value], np.float32), np.array([0, 1]), np.array([812]))
    step = Step((bad, numbers(1.0)), {"tokens": 2.0, "pairs": 2.0}, epoch=0.0)
    with pytest.raises(DivergedError, match=r"step 9 .* train.jsonl:812\.") as caught:
        accumulate(policy, two_terms, step, number=9, origin=lambda row: f"train.jsonl:{row}")
    assert caught.value.exit_code == 5
    assert policy.w.grad is None


def test_a_term_without_a_count_and_counts_that_do_not_add_up_are_our_fault() -> None:
    with pytest.raises(OurFault, match="pairs"):
        accumulate(OneWeight(), two_terms, Step((numbers(1.0),), {"tokens": 1.0}, 0.0), number=1, origin=str)
    counts = {"tokens": 9.0, "pairs": 1.0}
    with pytest.raises(OurFault, match=r"promised a count of 9\.0 for `tokens`"):
        accumulate(OneWeight(), two_terms, Step((numbers(1.0),), counts, 0.0), number=1, origin=str)


def test_many_rows_are_named_by_the_first_and_their_number() -> None:
    batch = Batch(np.zeros(1, np.int32), np.zeros(1, np.float32), np.array([0, 1]), np.arange(20))
    assert name_rows([batch], lambda row: f"a:{row}") == "a:0, a:1, a:2, a:3, a:4, a:5, a:6, a:7 (+12)"
