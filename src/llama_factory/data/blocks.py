"""A text of any length -> rows of at most `cutoff_len` tokens in which every token is learned exactly once.

In: one rendered text. Out: blocks of it, in order. Each block but the first begins with the last token of the one
before, which is only read there: so the first token of a block's own is predicted from something, and nothing is lost
at a border. Short texts stay whole; that several of them are computed together is the work of packs.
"""

from __future__ import annotations

from dataclasses import replace

from llama_factory.records import Rendered


def blocks(rendered: Rendered, limit: int) -> tuple[Rendered, ...]:
    """Rows of at most `limit` tokens (two at least); their first tokens are not learned."""
    length = int(rendered.ids_T.size)
    if length <= limit:
        return (rendered,)
    stride = max(limit - 1, 1)
    return tuple(_piece(rendered, start, start + stride + 1) for start in range(0, length - 1, stride))


def _piece(rendered: Rendered, start: int, end: int) -> Rendered:
    weight_T = rendered.weight_T[start:end].copy()
    weight_T[0] = 0.0
    return replace(
        rendered, ids_T=rendered.ids_T[start:end], weight_T=weight_T, message_T=rendered.message_T[start:end]
    )
