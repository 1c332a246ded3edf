"""Causal attention over rows laid end to end, written for processors.

In: queries, keys and values of one long row (1, H, T, D), the lengths of its documents, the scale of the
scores and, if there is one, the sliding window. Out: (1, T, H, D), every document seeing itself alone.

    S = scale * q k', forbidden places left out;  P = softmax(S);  out = P v
    dv = P' dout;  dS = P * (dP - rowsum(dP * P)) with dP = dout v';  dq = scale * dS k;  dk = scale * dS' q

Documents of similar length lie side by side, filled up at their ends. Blocks of queries meet the keys up to
their own end and within the window, so half of the square is never computed, and a block that lies behind
the end of a document leaves that document out. All heads of all documents share one product, grouped heads
without repeating their keys. A filler comes after all that is real, so no real query sees it, and what the
backward is given for it is zero. Short blocks keep P for the backward, longer ones compute it again.

Why not torch's own: its kernel for processors multiplies in slices of 32 queries and keeps all of a
document's keys in play (`benchmarks/attention.py` has both).

It knows no dropout, no capped scores and no sinks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from llama_factory.model import upstream

BLOCK = 128
"""Queries at a time."""

KEPT_KEYS = 256
"""Blocks that see at most so many keys keep their P: at most this many numbers for each head and token."""

SIMILAR = 0.5
"""Documents lie side by side when the shortest is more than this share of the longest."""


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


class _Group:
    """Documents side by side, long ones first: N of them, L the longest one's length, Hk heads of keys.

    Queries and what belongs to them are (N, Hk, Hq/Hk, L, D), keys and values (N, Hk, L, D).
    """

    def __init__(self, spans: Sequence[slice], window: int | None) -> None:
        self.spans, self.window = spans, window
        self.lengths = [span.stop - span.start for span in spans]
        self.longest = self.lengths[0]

    def beside(self, heads: Tensor) -> Tensor:
        """Out of the long row (H, T, D): (N, H, L, D), zero where a document has ended."""
        out = heads.new_zeros(len(self.spans), heads.shape[0], self.longest, heads.shape[2])
        for number, (span, length) in enumerate(zip(self.spans, self.lengths, strict=True)):
            out[number, :, :length] = heads[:, span]
        return out

    def back(self, beside: Tensor, into: Tensor) -> None:
        """The other way, into (H, T, D)."""
        for number, (span, length) in enumerate(zip(self.spans, self.lengths, strict=True)):
            into[:, span] = beside[number, :, :length]

    def blocks(self) -> Iterator[tuple[int, slice, slice]]:
        """How many documents have such queries, the queries, and the keys that some of them may see."""
        for start in range(0, self.longest, BLOCK):
            count = sum(length > start for length in self.lengths)
            stop = min(start + BLOCK, self.longest)
            yield count, slice(start, stop), slice(0 if self.window is None else max(0, start - self.window + 1), stop)

    def softmax(self, query: Tensor, key: Tensor, rows: slice, seen: slice) -> Tensor:
        """P (N' * Hk, Hq/Hk * rows, seen) of these queries, which are scaled, over these keys."""
        scores = torch.bmm(query, key.transpose(1, 2))
        count = rows.stop - rows.start
        by_head = scores.view(-1, count, scores.shape[-1])
        at = torch.arange(rows.start, rows.stop, device=scores.device)
        if self.window is None:  # only the last square has keys that come later
            by_head[..., -count:].masked_fill_(at[:, None] < at, float("-inf"))
        else:
            distance = at[:, None] - torch.arange(seen.start, seen.stop, device=scores.device)
            by_head.masked_fill_((distance < 0) | (distance >= self.window), float("-inf"))
        return torch.softmax(scores, dim=-1)


def _groups(lengths: list[int], window: int | None) -> list[_Group]:
    """The documents, from long to short, in groups of similar length."""
    stops = accumulate(lengths)
    spans = sorted((slice(stop - n, stop) for stop, n in zip(stops, lengths, strict=True)), key=_length, reverse=True)
    parts: list[list[slice]] = []
    for span in spans:
        if parts and _length(span) > SIMILAR * _length(parts[-1][0]):
            parts[-1].append(span)
        else:
            parts.append([span])
    return [_Group(part, window) for part in parts]


def _length(span: slice) -> int:
    return int(span.stop - span.start)


def _tile(beside: Tensor, count: int, rows: slice) -> Tensor:
    """These rows of the first documents as a batch of matrices: heads of a group one below the other."""
    width = beside.shape[-1]
    return beside[:count, ..., rows, :].reshape(count * beside.shape[1], -1, width)


class _Isolated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None
    ) -> Tensor:
        out_THD = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
        kept: list[Tensor] = []
        for group in _groups(lengths, window):
            queries, keys, values = _laid(group, query, key, value, scale)
            out = queries.new_empty(*queries.shape[:-1], values.shape[-1])
            for count, rows, seen in group.blocks():
                tile, keys_seen = _tile(queries, count, rows), _tile(keys, count, seen)
                softmax = group.softmax(tile, keys_seen, rows, seen)
                product = torch.bmm(softmax, _tile(values, count, seen))
                out[:count, ..., rows, :] = product.view(count, *out.shape[1:3], -1, out.shape[-1])
                if seen.stop - seen.start <= KEPT_KEYS and any(ctx.needs_input_grad):
                    kept.append(softmax)
            group.back(out.flatten(1, 2), out_THD.transpose(0, 1))
        ctx.save_for_backward(query, key, value, *kept)
        ctx.settings = lengths, scale, window
        return out_THD[None]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key, value, *kept = ctx.saved_tensors
        lengths, scale, window = ctx.settings
        dquery_THD = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
        dkey, dvalue = torch.empty_like(key[0]), torch.empty_like(value[0])
        at = iter(kept)
        for group in _groups(lengths, window):
            queries, keys, values = _laid(group, query, key, value, scale)
            grad = group.beside(grads[0][0].transpose(0, 1)).view(*queries.shape[:-1], -1)
            dqueries = torch.empty_like(queries)
            dkeys, dvalues = _sums(keys, group), _sums(values, group)
            for count, rows, seen in group.blocks():
                tile, keys_seen, dout = _tile(queries, count, rows), _tile(keys, count, seen), _tile(grad, count, rows)
                kept_here = seen.stop - seen.start <= KEPT_KEYS
                softmax = next(at) if kept_here else group.softmax(tile, keys_seen, rows, seen)
                dsoftmax = torch.bmm(dout, _tile(values, count, seen).transpose(1, 2))
                dscores = upstream.softmax_backward(dsoftmax, softmax)
                product = torch.bmm(dscores, keys_seen)
                dqueries[:count, ..., rows, :] = product.view(count, *queries.shape[1:3], -1, queries.shape[-1])
                dkeys[:count, :, seen] += torch.bmm(dscores.transpose(1, 2), tile).view_as(dkeys[:count, :, seen])
                dvalues[:count, :, seen] += torch.bmm(softmax.transpose(1, 2), dout).view_as(dvalues[:count, :, seen])
            group.back(dqueries.mul_(scale).flatten(1, 2), dquery_THD.transpose(0, 1))
            group.back(dkeys, dkey)
            group.back(dvalues, dvalue)
        return dquery_THD.transpose(0, 1)[None], dkey[None], dvalue[None], None, None, None


def _laid(group: _Group, query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled queries (N, Hk, Hq/Hk, L, D), keys and values (N, Hk, L, D) of one group."""
    queries = group.beside(query[0]).mul_(scale)
    return (
        queries.view(queries.shape[0], key.shape[1], -1, *queries.shape[2:]),
        group.beside(key[0]),
        group.beside(value[0]),
    )


def _sums(like: Tensor, group: _Group) -> Tensor:
    """Where the gradients of keys or values are summed over blocks of queries, in float32 or better."""
    better = torch.promote_types(like.dtype, torch.float32) if group.longest > BLOCK else like.dtype
    return torch.zeros_like(like, dtype=better)
