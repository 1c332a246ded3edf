"""Causal attention over rows laid end to end, written for processors.

In: queries, keys and values of one long row (1, H, T, D), the lengths of its documents, the scale of the
scores and, if there is one, the sliding window. Out: (1, T, H, D), every document seeing itself alone; or itself and
the first one, where that is the common beginning of all the others.

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
"""Queries at a time. Blocks end where a multiple of it ends in the document: rows of scores that do are faster."""

REST = BLOCK // 2
"""Fewer queries than this at the end of a document go with the block before them."""

KEPT_KEYS = 512
"""Blocks that see at most so many keys keep their P: at most this many numbers for each head and token."""

SIMILAR = 0.5
"""Documents lie side by side when the shortest is more than this share of the longest."""


def isolated_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None, common: int = 0
) -> Tensor:
    """The attention; under autocast in autocast's type.

    common: the length of the first document where all others go on from it, else 0.
    """
    kind = query.device.type
    if torch.is_autocast_enabled(kind):
        query, key, value = (it.to(torch.get_autocast_dtype(kind)) for it in (query, key, value))
    with torch.autocast(kind, enabled=False):
        out: Tensor = _Isolated.apply(query, key, value, lengths, scale, window, common)  # type: ignore[no-untyped-call]
    return out


class _Group:
    """Documents side by side, long ones first: N of them, L the longest one's length, Hk heads of keys.

    Queries and what belongs to them are (N, Hk, Hq/Hk, L, D), keys and values (N, Hk, C + L, D) with C tokens
    at the start of the long row that all of them begin with.
    """

    def __init__(self, spans: Sequence[slice], window: int | None, common: int) -> None:
        self.spans, self.window, self.common = spans, window, common
        self.lengths = [span.stop - span.start for span in spans]
        self.longest = self.lengths[0]

    def beside(self, heads: Tensor, common: int = 0) -> Tensor:
        """Out of the long row (H, T, D): (N, H, common + L, D), zero where a document has ended."""
        out = heads.new_zeros(len(self.spans), heads.shape[0], common + self.longest, heads.shape[2])
        out[:, :, :common] = heads[:, :common]
        for number, (span, length) in enumerate(zip(self.spans, self.lengths, strict=True)):
            out[number, :, common : common + length] = heads[:, span]
        return out

    def back(self, beside: Tensor, into: Tensor, common: int = 0) -> None:
        """The other way, into (H, T, D), where the common beginning has its own already."""
        for number, (span, length) in enumerate(zip(self.spans, self.lengths, strict=True)):
            into[:, span] = beside[number, :, common : common + length]
        if common:
            into[:, :common] += beside[:, :, :common].sum(0, dtype=torch.promote_types(beside.dtype, torch.float32))

    def blocks(self) -> Iterator[tuple[int, slice, slice]]:
        """How many documents have such queries, the queries, and the keys that some of them may see."""
        start = 0
        while start < self.longest:
            count = sum(length > start for length in self.lengths)
            stop = start + BLOCK - (self.common + start) % BLOCK
            if self.longest - stop < REST:
                stop = self.longest
            first = 0 if self.window is None else max(0, self.common + start - self.window + 1)
            yield count, slice(start, stop), slice(first, self.common + stop)
            start = stop

    def softmax(self, query: Tensor, key: Tensor, rows: slice, seen: slice) -> Tensor:
        """P (N' * Hk, Hq/Hk * rows, seen) of these queries, which are scaled, over these keys."""
        scores = torch.bmm(query, key.transpose(1, 2))
        count = rows.stop - rows.start
        by_head = scores.view(-1, count, scores.shape[-1])
        at = torch.arange(rows.start, rows.stop, device=scores.device)
        if self.window is None:  # only the last square has keys that come later
            by_head[..., -count:] += _forbid(at[:, None] < at, scores)
        else:
            distance = self.common + at[:, None] - torch.arange(seen.start, seen.stop, device=scores.device)
            by_head += _forbid((distance < 0) | (distance >= self.window), scores)
        return torch.softmax(scores, dim=-1)


def _forbid(places: Tensor, scores: Tensor) -> Tensor:
    """What is added to scores: minus infinity at these places, which is faster than to fill them."""
    return torch.zeros(places.shape, dtype=scores.dtype, device=scores.device).masked_fill_(places, float("-inf"))


def _groups(lengths: list[int], window: int | None, common: int) -> Iterator[_Group]:
    """The documents, from long to short, in groups of similar length; before them the beginning that they share."""
    spans = [slice(stop - n, stop) for stop, n in zip(accumulate(lengths), lengths, strict=True)]
    if common:
        yield _Group([spans.pop(0)], window, 0)
    spans.sort(key=_length, reverse=True)
    parts: list[list[slice]] = []
    for span in spans:
        if parts and _length(span) > SIMILAR * _length(parts[-1][0]):
            parts[-1].append(span)
        else:
            parts.append([span])
    yield from (_Group(part, window, common) for part in parts)


def _length(span: slice) -> int:
    return int(span.stop - span.start)


def _tile(beside: Tensor, count: int, rows: slice) -> Tensor:
    """These rows of the first documents as a batch of matrices: heads of a group one below the other."""
    width = beside.shape[-1]
    return beside[:count, ..., rows, :].reshape(count * beside.shape[1], -1, width)


class _Isolated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float, window: int | None,
        common: int,
    ) -> Tensor:  # fmt: skip
        out_THD = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
        kept: list[Tensor] = []
        for group in _groups(lengths, window, common):
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
        ctx.settings = lengths, scale, window, common
        return out_THD[None]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key, value, *kept = ctx.saved_tensors
        lengths, scale, window, common = ctx.settings
        dquery_THD = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
        dkey, dvalue = torch.empty_like(key[0]), torch.empty_like(value[0])
        at = iter(kept)
        for group in _groups(lengths, window, common):
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
            group.back(dkeys, dkey, group.common)
            group.back(dvalues, dvalue, group.common)
        return dquery_THD.transpose(0, 1)[None], dkey[None], dvalue[None], None, None, None, None


def _laid(group: _Group, query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled queries (N, Hk, Hq/Hk, L, D), keys and values (N, Hk, C + L, D) of one group."""
    queries = group.beside(query[0]).mul_(scale)
    return (
        queries.view(queries.shape[0], key.shape[1], -1, *queries.shape[2:]),
        group.beside(key[0], group.common),
        group.beside(value[0], group.common),
    )


def _sums(like: Tensor, group: _Group) -> Tensor:
    """Where the gradients of keys or values are summed over blocks of queries, in float32 or better."""
    better = torch.promote_types(like.dtype, torch.float32) if group.longest > BLOCK else like.dtype
    return torch.zeros_like(like, dtype=better)
