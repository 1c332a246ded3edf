"""Causal attention over rows laid end to end, written for processors.

In: queries, keys and values of one long row (1, H, T, D), the lengths of its documents, the scale of the
scores and, if there is one, the sliding window. Out: (1, T, H, D), every document seeing itself alone.

    S = scale * q k', forbidden places left out;  P = softmax(S);  out = P v
    dv = P' dout;  dS = P * (dP - rowsum(dP * P)) with dP = dout v';  dq = scale * dS k;  dk = scale * dS' q

Blocks of queries meet the keys up to their own end and within the window, so half of the square is never
computed; all heads of a block share one product, grouped heads without repeating their keys. Short
documents keep P for the backward, longer ones compute it again, block by block.

Why not torch's own: its kernel for processors multiplies in slices of 32 queries and keeps all of a
document's keys in play (`benchmarks/attention.py` has both).

It knows no dropout, no capped scores and no sinks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from llama_factory.model import upstream

BLOCK = 128
"""Queries at a time."""

KEPT_LENGTH = 256
"""Documents up to this length keep their P: at most this many numbers for each head and token."""


def isolated_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None
) -> Tensor:
    """The attention; under autocast in autocast's type."""
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        query, key, value = (it.to(torch.get_autocast_dtype(kind)) for it in (query, key, value))
    with torch.autocast(kind, enabled=False):
        out: Tensor = _Isolated.apply(query, key, value, lengths, scale, window)  # type: ignore[no-untyped-call]
    return out


class _Document:
    """One document's queries (Hq, T, D), keys (Hk, T, D) and values (Hk, T, Dv), and its blocks."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> None:
        self.query, self.key, self.value = query, key.contiguous(), value.contiguous()
        self.scale, self.window = scale, window
        self.length = query.shape[1]

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Queries, and the keys that some of them may see."""
        for start in range(0, self.length, BLOCK):
            stop = min(start + BLOCK, self.length)
            yield slice(start, stop), slice(0 if self.window is None else max(0, start - self.window + 1), stop)

    def grouped(self, heads: Tensor, rows: slice) -> Tensor:
        """These rows of all heads (Hq, T, D), the heads of a group one below the other (Hk, Hq/Hk * rows, D)."""
        return heads[:, rows].reshape(self.key.shape[0], -1, heads.shape[-1])

    def ungrouped(self, rows: Tensor) -> Tensor:
        """Back again: (rows, Hq, D)."""
        return rows.view(self.query.shape[0], -1, rows.shape[-1]).transpose(0, 1)

    def softmax(self, scaled: Tensor, rows: slice, seen: slice) -> Tensor:
        """P of these queries (grouped and scaled) over the keys in `seen`."""
        scores = torch.bmm(scaled, self.key[:, seen].transpose(1, 2))
        count = rows.stop - rows.start
        by_head = scores.view(-1, count, scores.shape[-1])
        at = torch.arange(rows.start, rows.stop, device=scores.device)
        if self.window is None:  # only the last square has keys that come later
            by_head[..., -count:].masked_fill_(at[:, None] < at, float("-inf"))
        else:
            distance = at[:, None] - torch.arange(seen.start, seen.stop, device=scores.device)
            by_head.masked_fill_((distance < 0) | (distance >= self.window), float("-inf"))
        return torch.softmax(scores, dim=-1)


class _Isolated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None
    ) -> Tensor:
        out_THD = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
        kept: list[Tensor] = []
        for span, document in _documents(query, key, value, lengths, scale, window):
            for rows, seen in document.blocks():
                softmax = document.softmax(document.grouped(document.query, rows) * scale, rows, seen)
                out_THD[span][rows] = document.ungrouped(torch.bmm(softmax, document.value[:, seen]))
                if document.length <= KEPT_LENGTH and any(ctx.needs_input_grad):
                    kept.append(softmax)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.settings = lengths, scale, window
        return out_THD[None]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key, value, *kept = ctx.saved_tensors
        lengths, scale, window = ctx.settings
        grad_HTD = grads[0][0].transpose(0, 1)
        dquery_THD = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
        dkey, dvalue = torch.empty_like(key[0]), torch.empty_like(value[0])
        at = iter(kept)
        for span, document in _documents(query, key, value, lengths, scale, window):
            sums = _Sums(document)
            for rows, seen in document.blocks():
                scaled = document.grouped(document.query, rows) * scale
                softmax = next(at) if document.length <= KEPT_LENGTH else document.softmax(scaled, rows, seen)
                dout = document.grouped(grad_HTD[:, span], rows)
                dsoftmax = torch.bmm(dout, document.value[:, seen].transpose(1, 2))
                dscores = upstream.softmax_backward(dsoftmax, softmax)
                dquery_THD[span][rows] = document.ungrouped(torch.bmm(dscores, document.key[:, seen]).mul_(scale))
                sums.add(seen, torch.bmm(dscores.transpose(1, 2), scaled), torch.bmm(softmax.transpose(1, 2), dout))
            dkey[:, span], dvalue[:, span] = sums.dkey, sums.dvalue
        return dquery_THD.transpose(0, 1)[None], dkey[None], dvalue[None], None, None, None


class _Sums:
    """Gradients of one document's keys and values, summed over blocks of queries in float32 or better."""

    def __init__(self, document: _Document) -> None:
        self.single = document.length <= BLOCK
        if not self.single:
            better = torch.promote_types(document.key.dtype, torch.float32)
            self.dkey = torch.zeros_like(document.key, dtype=better)
            self.dvalue = torch.zeros_like(document.value, dtype=better)

    def add(self, seen: slice, dkey: Tensor, dvalue: Tensor) -> None:
        if self.single:
            self.dkey, self.dvalue = dkey, dvalue
        else:
            self.dkey[:, seen] += dkey
            self.dvalue[:, seen] += dvalue


def _documents(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None
) -> Iterator[tuple[slice, _Document]]:
    start = 0
    for length in lengths:
        span = slice(start, start + length)
        yield span, _Document(query[0, :, span], key[0, :, span], value[0, :, span], scale, window)
        start += length
