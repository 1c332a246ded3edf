"""Attention over rows laid end to end equals attention by definition, row by row."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from llama_factory.errors import OurFault
from llama_factory.model.attention import attend, no_mask

LENGTHS = (3, 1, 7, 5)
HEADS, GROUPS, WIDTH = 4, 2, 8


def made(length: int):
    generator = torch.Generator().manual_seed(length)
    query, key, value = (
        torch.randn(1, heads, length, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads in (HEADS, HEADS // GROUPS, HEADS // GROUPS)
    )
    return query, key, value


def definition(query, key, value, *, scaling, window, softcap, sinks):
    """One row, one head at a time, one query at a time."""
    out = torch.empty(query.shape[0], query.shape[2], query.shape[1], WIDTH, dtype=query.dtype)
    for head, t in product(range(HEADS), range(query.shape[2])):
        start = 0 if window is None else max(0, t - window + 1)
        k, v = key[0, head // GROUPS, start : t + 1], value[0, head // GROUPS, start : t + 1]
        scores = k @ query[0, head, t] * (WIDTH**-0.5 if scaling is None else scaling)
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        weights = scores.exp() / (scores.exp().sum() + (0 if sinks is None else sinks[head].exp()))
        out[0, t, head] = weights @ v
    return out


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("window", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_each_row_attends_to_itself_by_the_definition(scaling, window, softcap, with_sinks):
    query, key, value = made(sum(LENGTHS))
    sinks = torch.linspace(-1, 1, HEADS, dtype=torch.float64, requires_grad=True) if with_sinks else None
    bounds = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32)
    ours, _ = attend(
        torch.nn.Module(), query, key, value, no_mask(query), scaling=scaling, sliding_window=window, softcap=softcap,
        s_aux=sinks, cu_seq_lens_q=bounds,
    )  # fmt: skip
    parts = zip(*(torch.split(it, LENGTHS, dim=2) for it in (query, key, value)), strict=True)
    plain = torch.cat([
        definition(q, k, v, scaling=scaling, window=window, softcap=softcap, sinks=sinks) for q, k, v in parts
    ], dim=1)  # fmt: skip
    assert torch.allclose(ours, plain, rtol=0, atol=1e-12)
    leaves = [it for it in (query, key, value, sinks) if it is not None]
    grad = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(0))
    for mine, theirs in zip(
        torch.autograd.grad(ours, leaves, grad), torch.autograd.grad(plain, leaves, grad), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_boundaries_that_got_lost_on_the_way_are_noticed():
    query, key, value = made(6)
    with pytest.raises(OurFault, match="without their boundaries"):
        attend(torch.nn.Module(), query, key, value, no_mask(query))
