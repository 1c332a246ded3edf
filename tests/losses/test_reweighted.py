"""DFT, EAFT, ASFT and smoothed labels: worked by hand, equal to PyTorch's own, the same however a step is cut."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from llama_factory.losses import asft, dft, eaft, smoothed, token_nll

HALF = torch.tensor([math.log(0.5), math.log(0.25)])
WEIGHT = torch.tensor([1.0, 2.0])


def test_two_tokens_by_hand() -> None:
    ln2 = math.log(2)
    found = dft(HALF, WEIGHT)
    assert found.count == 3.0
    assert float(found.sum) == pytest.approx(0.5 * ln2 + 2 * 0.25 * 2 * ln2)
    entropy = torch.tensor([1.0, 0.25])
    assert float(eaft(HALF, entropy, WEIGHT, alpha=0.5).sum) == pytest.approx(ln2 + 2 * 0.5 * 2 * ln2)
    divergence = torch.tensor([3.0, 0.5])
    anchored = asft(HALF, divergence, WEIGHT, alpha=0.1)
    assert float(anchored.sum) == pytest.approx(float(found.sum) + 0.1 * (3.0 + 2 * 0.5))
    mean = torch.tensor([-2.0, -4.0])
    assert float(smoothed(HALF, mean, WEIGHT, factor=0.1).sum) == pytest.approx(0.9 * 5 * ln2 + 0.1 * (2 + 8))


def test_the_weights_of_dft_and_eaft_let_no_gradient_through() -> None:
    for loss in (lambda x: dft(x, WEIGHT), lambda x: asft(x, torch.zeros(2), WEIGHT, alpha=1.0)):
        logprob = HALF.clone().requires_grad_(True)
        loss(logprob).sum.backward()
        torch.testing.assert_close(logprob.grad, -WEIGHT * HALF.exp())
    logprob, entropy = HALF.clone().requires_grad_(True), torch.tensor([0.5, 0.5], requires_grad=True)
    eaft(logprob, entropy, WEIGHT, alpha=1.0).sum.backward()
    assert entropy.grad is None
    torch.testing.assert_close(logprob.grad, -0.5 * WEIGHT)


def test_smoothed_labels_are_those_of_pytorch() -> None:
    logits = torch.randn(7, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    token = torch.arange(7)
    logp = torch.log_softmax(logits, -1)
    found = smoothed(logp.gather(1, token[:, None])[:, 0], logp.mean(-1), torch.ones(7), factor=0.2)
    assert float(found.sum) / found.count == pytest.approx(float(cross_entropy(logits, token, label_smoothing=0.2)))


def test_each_is_the_plain_loss_where_it_changes_nothing() -> None:
    plain = float(token_nll(HALF, WEIGHT).sum)
    ones = torch.ones(2)
    assert float(eaft(HALF, ones, WEIGHT, alpha=3.0).sum) == pytest.approx(plain)
    assert float(eaft(HALF, ones * 0.2, WEIGHT, alpha=0.0).sum) == pytest.approx(plain)
    assert float(smoothed(HALF, ones, WEIGHT, factor=0.0).sum) == pytest.approx(plain)
    assert float(asft(HALF, ones, WEIGHT, alpha=0.0).sum) == pytest.approx(float(dft(HALF, WEIGHT).sum))


def test_a_step_in_parts_is_the_step_in_one() -> None:
    """Sums and counts add up, so that accumulation changes no gradient."""

    def losses(part: slice) -> list[tuple[float, float]]:
        ones: Tensor = torch.full((2,), 0.3)[part]
        made = (
            dft(HALF[part], WEIGHT[part]), eaft(HALF[part], ones, WEIGHT[part], alpha=0.5),
            asft(HALF[part], ones, WEIGHT[part], alpha=0.1), smoothed(HALF[part], ones, WEIGHT[part], factor=0.1),
        )  # fmt: skip
        return [(float(one.sum), one.count) for one in made]

    whole, parts = losses(slice(0, 2)), [losses(slice(0, 1)), losses(slice(1, 2))]
    assert len(whole) == 4
    for one, first, second in zip(whole, *parts, strict=True):
        assert one == pytest.approx((first[0] + second[0], first[1] + second[1]))


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        dft(HALF, torch.ones(3))
