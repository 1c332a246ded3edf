"""Causal attention over rows laid end to end, by the compiled kernel, with its gradients.

In: queries, keys and values (1, H, T, D) of one long row, and how its rows lie. Out: (1, T, H, D), or None where the
kernel is not taken. Kept for the backward are what came in, what went out and one number a query: the scores are made
again. The formulas stand in `attention.cpp`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from llama_factory.model.native import calls
from llama_factory.model.native.calls import Rows
from llama_factory.model.native.library import Library, library_for

LANES = 16
"""A head's width must be a multiple of it."""


def native_attention(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor | None:
    """Under autocast in autocast's type."""
    kind = query.device.type
    if kind != "cpu" or query.shape[-1] % LANES or value.shape[-1] != query.shape[-1]:
        return None
    if torch.is_autocast_enabled(kind):
        query, key, value = (it.to(torch.get_autocast_dtype(kind)) for it in (query, key, value))
    kernels = library_for(query, key, value)
    if kernels is None:
        return None
    out: Tensor = _Attention.apply(query, key, value, kernels, rows)  # type: ignore[no-untyped-call]
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, kernels: Library, rows: Rows) -> Tensor:
        query, key, value = (_together(it[0]) for it in (query, key, value))
        out_THD, lse_HT = calls.attention_forward(kernels, query, key, value, rows)
        ctx.save_for_backward(query, key, value, out_THD, lse_HT)
        ctx.settings = kernels, rows
        return out_THD[None]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        query, key, value, out_THD, lse_HT = ctx.saved_tensors
        kernels, rows = ctx.settings
        dout_THD = _together(grads[0][0])
        found = calls.attention_backward(kernels, query, key, value, out_THD, lse_HT, dout_THD, rows)
        return *(it.transpose(0, 1)[None] for it in found), None, None


def _together(heads: Tensor) -> Tensor:
    """With the numbers of one token's head side by side, as the kernel reads them."""
    return heads if heads.stride(-1) == 1 else heads.contiguous()
