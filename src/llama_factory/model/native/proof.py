"""Every kernel beside the formula that it stands for, on small numbers, before any of them is used.

In: the library. Out: the name of the first kernel that differs, or nothing. A compiler or a processor that makes other
numbers of the same source must not train a model. Tests compare on many shapes; here it is a matter of milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from llama_factory.model import upstream
from llama_factory.model.native import calls

if TYPE_CHECKING:
    from llama_factory.model.native.library import Library

NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest difference, as a share of the largest number."""

Pairs = Iterator[tuple[Tensor, Tensor]]


def first_that_differs(kernels: Library) -> str:
    """Empty: none does."""
    with torch.inference_mode(False), torch.enable_grad():  # wherever the first call may stand
        return next(
            (
                f"{name}, {str(dtype).removeprefix('torch.')}"
                for dtype in NEAR
                for name, both in CASES.items()
                if not all(_near(found, right, NEAR[dtype]) for found, right in both(kernels, dtype))
            ),
            "",
        )


def _near(found: Tensor, right: Tensor, share: float) -> bool:
    return bool((found.double() - right).abs().max() <= share * right.abs().max())


def _some(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _attention(kernels: Library, dtype: torch.dtype) -> Pairs:
    lengths, common, width = (5, 70, 3), 5, 16
    query, key, value, dout = (_some(dtype, n, sum(lengths), width, seed=n) for n in (4, 2, 2, 4))
    rows = calls.Rows(lengths, 0.25, None, common)
    out, lse = calls.attention_forward(kernels, query, key, value, rows)
    grads = calls.attention_backward(kernels, query, key, value, out, lse, dout.transpose(0, 1).contiguous(), rows)
    leaves = [it.double().requires_grad_(True) for it in (query, key, value)]
    right = attention_by_definition(leaves, rows)
    rights = upstream.gradients(right, leaves, dout.double())
    yield out.transpose(0, 1), right.detach()
    yield from ((found.transpose(0, 1), it) for found, it in zip(grads, rights, strict=True))


def attention_by_definition(heads: Sequence[Tensor], rows: calls.Rows) -> Tensor:
    """Queries, keys and values (H, T, D), row by row with whole masks."""
    query, key, value = heads
    done, start = list[Tensor](), 0
    groups = query.shape[0] // key.shape[0]
    for number, length in enumerate(rows.lengths):
        own, shared = slice(start, start + length), rows.common if number else 0
        keys, values = (torch.cat([it[:, :shared], it[:, own]], 1).repeat_interleave(groups, 0) for it in (key, value))
        distance = torch.arange(shared, shared + length)[:, None] - torch.arange(shared + length)
        hidden = (distance < 0) | (distance >= (rows.window or shared + length))
        scores = (query[:, own] @ keys.transpose(1, 2) * rows.scale).masked_fill(hidden, float("-inf"))
        done.append(torch.softmax(scores, dim=-1) @ values)
        start += length
    return torch.cat(done, dim=1)


def _norm(kernels: Library, dtype: torch.dtype) -> Pairs:
    x, dy, weight = (_some(dtype, *shape, seed=n) for n, shape in enumerate([(7, 40), (7, 40), (40,)]))
    y, factor = calls.norm_forward(kernels, x, weight, 1e-5)
    leaves = x.double().requires_grad_(True), weight.double().requires_grad_(True)
    right = torch.nn.functional.rms_norm(leaves[0], (40,), leaves[1], 1e-5)
    dx, dweight = upstream.gradients(right, leaves, dy.double())
    yield y, right.detach()
    yield calls.norm_backward(kernels, x, weight, factor, dy), dx
    yield calls.norm_weight(kernels, x, factor, dy), dweight


def _gated(kernels: Library, dtype: torch.dtype) -> Pairs:
    gate, up, dh = (_some(dtype, 5, 40, seed=n) for n in range(3))
    leaves = gate.double().requires_grad_(True), up.double().requires_grad_(True)
    right = torch.nn.functional.silu(leaves[0]) * leaves[1]
    dgate, dup = upstream.gradients(right, leaves, dh.double())
    yield calls.gated_forward(kernels, gate, up), right.detach()
    yield calls.gated_backward_(kernels, gate, up, dh), dup
    yield dh, dgate


def _rotate(kernels: Library, dtype: torch.dtype) -> Pairs:
    x, cos, sin, dy = (
        _some(dtype, *shape, seed=n) for n, shape in enumerate([(5, 3, 40), (5, 40), (5, 40), (5, 3, 40)])
    )
    leaf = x.double().requires_grad_(True)
    turned = torch.cat([-leaf[..., 20:], leaf[..., :20]], dim=-1)
    right = leaf * cos.double()[:, None] + turned * sin.double()[:, None]
    yield calls.rotate(kernels, x, cos, sin, back=False), right.detach()
    yield calls.rotate(kernels, dy, cos, sin, back=True), upstream.gradients(right, [leaf], dy.double())[0]


def _logprobs(kernels: Library, dtype: torch.dtype) -> Pairs:
    logits, token = _some(dtype, 4, 70) * 5, torch.tensor([0, 69, 3, 20])
    leaf = logits.double().requires_grad_(True)
    right = torch.log_softmax(leaf * 0.5, dim=-1).gather(-1, token[:, None])[:, 0]
    (slope,) = torch.autograd.grad(-right.sum(), leaf)
    yield calls.logprobs_(kernels, logits, token, 0.5, slope=True), right.detach()
    yield logits, slope


CASES: dict[str, Callable[[Library, torch.dtype], Pairs]] = {
    "attention": _attention, "norm": _norm, "gated": _gated, "rotate": _rotate, "logprobs": _logprobs,
}  # fmt: skip
