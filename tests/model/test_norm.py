"""The norm in one piece: by its definition, beside that of transformers, and only where it is the same formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from llama_factory.model import norm
from llama_factory.testing.tiny import tiny_model

WIDTH = 6


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_definition_by_hand():
    ours = norm.RMSNorm(nn.Parameter(torch.tensor([2.0, 3.0])), 0.5)
    y = ours(torch.tensor([[3.0, 1.0], [0.0, 0.0]]))
    assert torch.allclose(y, torch.tensor([[2 * 3 / 5.5**0.5, 3 * 1 / 5.5**0.5], [0.0, 0.0]]))


def test_gradients_are_those_that_differences_show():
    leaves = drawn(2, 3, WIDTH, seed=0).requires_grad_(True), drawn(WIDTH, seed=1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x, w: norm._Norm.apply(x, w, 1e-3), leaves)


@pytest.mark.parametrize("trained", [False, True])
def test_a_model_with_our_norms_is_the_same_model(trained):
    ids = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    results = []
    for replaced in (False, True):
        model = tiny_model("llama", attention=None).float().train()
        names = [name for name, _ in model.named_parameters()]
        for name, value in model.named_parameters():
            value.requires_grad_(trained or "norm" not in name)
        if replaced:
            assert norm.replace(model) == 5
            assert norm.replace(model) == 0
            assert [name for name, _ in model.named_parameters()] == names
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        results.append((loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (loss, gradients), (our_loss, ours) = results
    assert abs(float(loss - our_loss)) < 1e-6
    assert ours.keys() == gradients.keys()
    assert sum("norm" in name for name in ours) == (5 if trained else 0)
    assert len(ours) > 10
    for name, gradient in gradients.items():
        assert (ours[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


def test_in_bf16_the_two_are_rounding_apart():
    model = tiny_model("llama", attention=None).bfloat16().eval()
    ids = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    before = model(ids, use_cache=False).logits.float()
    assert norm.replace(model) == 5
    after = model(ids, use_cache=False).logits.float()
    assert after.dtype == before.dtype
    assert (after - before).abs().mean() < 0.02 * before.abs().mean()


class PlusOneRMSNorm(nn.Module):
    """Like Gemma's: one is added to the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.zeros(WIDTH)), 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


class GatedRMSNorm(PlusOneRMSNorm):
    def forward(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * gate


class CentredRMSNorm(PlusOneRMSNorm):
    """Right forward on numbers around zero, and wrong backward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.detach().pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


@pytest.mark.parametrize("other", [PlusOneRMSNorm, GatedRMSNorm, CentredRMSNorm, lambda: nn.LayerNorm(WIDTH)])
def test_what_is_another_formula_is_left_alone(other):
    model = nn.Sequential(other())
    nn.init.ones_(model[0].weight)
    before = model[0]
    assert norm.replace(model) == 0
    assert model[0] is before


def test_a_norm_on_which_something_hangs_is_left_alone():
    model = tiny_model("llama")
    model.model.norm.register_forward_hook(lambda *words: None)
    assert norm.replace(model) == 4


def test_gemma_keeps_its_own_norms_and_qwen3_gets_ours():
    assert norm.replace(tiny_model("gemma")) == 0
    assert norm.replace(tiny_model("qwen3")) > 5


def test_saving_is_as_before(tmp_path):
    model = tiny_model("llama")
    names = set(model.state_dict())
    norm.replace(model)
    assert set(model.state_dict()) == names
