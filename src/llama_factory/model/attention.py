"""Attention over rows laid end to end, each seeing only itself.

In: queries, keys and values of one long row (1, H, T, D) and the rows' boundaries, which travel as the
forward's keywords `cu_seq_lens_q` and `cu_seq_lens_k` (transformers' own names for them), never through a global.
Where a row's keys are more than its queries, it begins with the tokens of the first row, which lie there once.
Out: the attention's output (1, T, H, D), exact for causal attention with grouped heads, scaling,
sliding windows, capped scores and sinks. No T x T mask exists and no head is repeated.

On a processor kernels of ours compute it in half precision: the compiled one (`native`), and where there is none, the
one written in torch (`isolated`).

The function is registered under NAME through transformers' public AttentionInterface. Called without
boundaries (generation, the plain path) it is transformers' own `sdpa`, mask and all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from llama_factory.errors import OurFault
from llama_factory.model.isolated import isolated_attention
from llama_factory.model.native.attention import native_attention
from llama_factory.model.native.calls import Rows

NAME = "llama_factory"
HALF = (torch.bfloat16, torch.float16)


def register() -> None:
    """Make NAME known to transformers: this attention, and the masks of `sdpa`. Again changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])


def no_mask(like: Tensor) -> Tensor:
    """Stands where a mask would: four axes tell transformers that the mask is ready, so it builds none."""
    return torch.zeros(1, 1, 1, 1, dtype=like.dtype, device=like.device)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    cu_seq_lens_q: Tensor | None = None,
    cu_seq_lens_k: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if cu_seq_lens_q is None:
        if attention_mask is not None and attention_mask.shape[-2:] == (1, 1) and key.shape[2] > 1:
            raise OurFault("model.policy-lost-boundaries", module=type(module).__name__)
        if softcap is None and s_aux is None:
            return _sdpa(module, query, key, value, attention_mask, dropout, scaling, kwargs)
        causal = attention_mask is None and query.shape[2] > 1
        out = _by_definition(query, key, value, attention_mask, causal, dropout, scaling, softcap, s_aux)
        return out.transpose(1, 2).contiguous(), None
    lengths = cu_seq_lens_q.diff().tolist()
    common = 0 if cu_seq_lens_k is None else int(cu_seq_lens_k[-1] - cu_seq_lens_k[-2]) - lengths[-1]
    if softcap is None and s_aux is None and dropout == 0.0 and _in_half_on_processor(query):
        rows = Rows(lengths, scaling, sliding_window, common)
        if (whole := native_attention(query, key, value, rows)) is not None:
            return whole, None
        return isolated_attention(query, key, value, lengths, scaling, sliding_window, common), None
    done: list[Tensor] = []
    for q, k, v in zip(*(_rows(it, lengths, common) for it in (query, key, value)), strict=True):
        window = _window(q.shape[2], sliding_window, q.device)
        if softcap is None and s_aux is None:
            out = scaled_dot_product_attention(
                q, k, v, attn_mask=window, dropout_p=dropout, is_causal=window is None, scale=scaling,
                enable_gqa=q.shape[1] != k.shape[1],
            )  # fmt: skip
        else:
            out = _by_definition(q, k, v, window, window is None, dropout, scaling, softcap, s_aux)
        done.append(out.transpose(1, 2)[:, common if done else 0 :])
    return torch.cat(done, dim=1), None


def _rows(it: Tensor, lengths: list[int], common: int) -> list[Tensor]:
    """Each row (1, H, length, D) with the beginning that it shares with the first."""
    first, *others = torch.split(it, lengths, dim=2)
    return [first, *(torch.cat([first, other], dim=2) if common else other for other in others)]


def _in_half_on_processor(query: Tensor) -> bool:
    """Where our own kernel is the faster one. In float32 torch's is as fast, and it is what others compare with."""
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    return kind == "cpu" and dtype in HALF


def _window(length: int, size: int | None, device: torch.device) -> Tensor | None:
    """The mask of a sliding window over one row; None when the row fits into the window."""
    if size is None or length <= size:
        return None
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    return (distance >= 0) & (distance < size)


def _sdpa(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float,
    scaling: float, kwargs: dict[str, Any],
) -> tuple[Tensor, None]:  # fmt: skip
    from transformers import AttentionInterface

    out: tuple[Tensor, None] = AttentionInterface()["sdpa"](
        module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return out


def _by_definition(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, dropout: float, scaling: float,
    softcap: float | None, s_aux: Tensor | None,
) -> Tensor:  # fmt: skip
    """Softmax attention written out: what `sdpa` has no words for (capped scores, sinks)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    if s_aux is not None:
        sink = s_aux.reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        scores = torch.cat([scores, sink.to(scores.dtype)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)
    if s_aux is not None:
        weights = weights[..., :-1]
    return torch.matmul(torch.dropout(weights, dropout, train=dropout > 0.0), value)
