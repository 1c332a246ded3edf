"""Attention over rows laid end to end equals attention by definition, row by row."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from llama_factory.errors import OurFault
from llama_factory.model import isolated
from llama_factory.model.attention import attend, no_mask

LENGTHS = (3, 1, 7, 5)
LONG = (2, isolated.BLOCK, 1, isolated.BLOCK + 3, 2 * isolated.BLOCK, isolated.KEPT_KEYS + 5)
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


@pytest.mark.parametrize("window", [None, 1, 9, isolated.BLOCK + 1, 1000])
@pytest.mark.parametrize("common", [1, 11, isolated.BLOCK + 7])
@pytest.mark.parametrize("ours", [True, False])
def test_a_beginning_that_lies_there_once_is_as_if_every_row_had_its_own(window, common, ours):
    generator = torch.Generator().manual_seed(0)
    own = (3, isolated.BLOCK + 2, 1, 40)
    shape = common + sum(own)
    leaves = [
        torch.randn(1, heads, shape, WIDTH, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads in (HEADS, HEADS // GROUPS, HEADS // GROUPS)
    ]
    if ours:
        once = isolated.isolated_attention(*leaves, [common, *own], 0.3, window, common)
    else:
        bounds = (torch.tensor([0, *torch.tensor(it).cumsum(0)], dtype=torch.int32)
                  for it in ((common, *own), (common, *(common + n for n in own))))  # fmt: skip
        names = zip(("cu_seq_lens_q", "cu_seq_lens_k"), bounds, strict=True)
        ask = {"scaling": 0.3, "sliding_window": window, **dict(names)}
        once, _ = attend(torch.nn.Module(), *leaves, no_mask(leaves[0]), **ask)
    starts = [common + sum(own[:number]) for number in range(len(own))]
    rows = [[*range(common), *range(start, start + n)] for start, n in zip(starts, own, strict=True)]
    every = [place for row in rows for place in row]
    alone = isolated.isolated_attention(*(it[:, :, every] for it in leaves), [len(row) for row in rows], 0.3, window)
    assert torch.allclose(once[:, every], alone, rtol=0, atol=1e-12)
    grad = torch.randn(alone.shape, dtype=alone.dtype, generator=generator)
    for mine, theirs in zip(
        torch.autograd.grad(once[:, every], leaves, grad), torch.autograd.grad(alone, leaves, grad), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("window", [None, 1, 60, isolated.BLOCK, isolated.BLOCK + 1, 1000])
@pytest.mark.parametrize("width_of_values", [WIDTH, 3])
def test_documents_longer_than_a_block_equal_the_kernel_of_torch(window, width_of_values):
    generator = torch.Generator().manual_seed(0)
    shapes = (HEADS, WIDTH), (HEADS // GROUPS, WIDTH), (HEADS // GROUPS, width_of_values)
    leaves = [
        torch.randn(1, heads, sum(LONG), width, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads, width in shapes
    ]
    ours = isolated.isolated_attention(*leaves, list(LONG), 0.3, window)
    plain = []
    for query, key, value in zip(*(torch.split(it, LONG, dim=2) for it in leaves), strict=True):
        at = torch.arange(query.shape[2])
        seen = (at[:, None] >= at) & (at[:, None] - at < (window or 10**6))
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=0.3, enable_gqa=True)
        plain.append(out.transpose(1, 2))
    plain_out = torch.cat(plain, dim=1)
    assert torch.allclose(ours, plain_out, rtol=0, atol=1e-12)
    grad = torch.randn(ours.shape, dtype=ours.dtype, generator=generator)
    for mine, theirs in zip(
        torch.autograd.grad(ours, leaves, grad), torch.autograd.grad(plain_out, leaves, grad), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-11)


def test_no_number_of_the_attention_depends_on_another_document():
    generator = torch.Generator().manual_seed(0)
    lengths = [5, isolated.BLOCK + 9, 3]
    tensors = [torch.randn(1, heads, sum(lengths), WIDTH, generator=generator) for heads in (HEADS, 2, 2)]
    before = isolated.isolated_attention(*tensors, lengths, 0.3, None)
    for tensor in tensors:
        tensor[:, :, 5 : 5 + lengths[1]] = torch.randn(tensor[:, :, 5 : 5 + lengths[1]].shape, generator=generator)
    after = isolated.isolated_attention(*tensors, lengths, 0.3, None)
    assert torch.equal(before[:, :5], after[:, :5])
    assert torch.equal(before[:, -3:], after[:, -3:])
    assert not torch.allclose(before[:, 5:-3], after[:, 5:-3])


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_on_a_processor_takes_our_own_kernel_and_float32_that_of_torch(autocast):
    query, key, value = (it.detach().float() for it in made(sum(LENGTHS)))
    half = [it.bfloat16() for it in (query, key, value)]
    bounds = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32)
    ask = {"cu_seq_lens_q": bounds, "scaling": 0.3}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        given = (query, key, value) if autocast else half
        ours, _ = attend(torch.nn.Module(), *given, no_mask(query), **ask)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, isolated.isolated_attention(*half, list(LENGTHS), 0.3, None))
    exact, _ = attend(torch.nn.Module(), query, key, value, no_mask(query), **ask)
    assert not torch.equal(exact, isolated.isolated_attention(query, key, value, list(LENGTHS), 0.3, None))
    assert torch.allclose(ours.float(), exact, rtol=0, atol=3e-2)


def test_dropout_goes_to_the_kernel_that_knows_it():
    query, key, value = made(sum(LENGTHS))
    bounds = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0)], dtype=torch.int32)
    ask = {"cu_seq_lens_q": bounds, "scaling": 0.3}
    query, key, value = (it.bfloat16() for it in (query, key, value))
    whole, _ = attend(torch.nn.Module(), query, key, value, no_mask(query), **ask)
    torch.manual_seed(0)
    dropped, _ = attend(torch.nn.Module(), query, key, value, no_mask(query), dropout=0.5, **ask)
    assert (whole - dropped).abs().max() > 0.1
    assert torch.allclose(dropped[0, 3], whole[0, 3] * 2) or (dropped[0, 3] == 0).any()  # a row of one token
