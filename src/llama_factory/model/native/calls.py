"""The kernels as functions of tensors. One call each, formulas beside the callers in `model`.

In: the library, tensors of one format whose last axis lies together (`rows` sees to it). Out: new tensors, or what a
call says that it writes. Nothing here knows autograd.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from llama_factory.model.native.library import Library


def norm_forward(kernels: Library, x: Tensor, weight_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """w * (n x), and n of each row in float32."""
    x_TD = x.contiguous()
    y, factor_T = torch.empty_like(x_TD), x.new_empty(x.shape[:-1], dtype=torch.float32)
    kernels.call("norm_forward", x.dtype, *_size(x), x_TD, weight_D, eps, y, factor_T)
    return y, factor_T


def norm_backward(kernels: Library, x: Tensor, weight_D: Tensor, factor_T: Tensor, dy: Tensor) -> Tensor:
    x, dy = x.contiguous(), dy.contiguous()
    dx = torch.empty_like(x)
    kernels.call("norm_backward", x.dtype, *_size(x), x, weight_D, factor_T, dy, dx)
    return dx


def norm_weight(kernels: Library, x: Tensor, factor_T: Tensor, dy: Tensor) -> Tensor:
    """The gradient for the weight, in float32."""
    x, dy = x.contiguous(), dy.contiguous()
    dweight_D = x.new_empty(x.shape[-1], dtype=torch.float32)
    kernels.call("norm_weight", x.dtype, *_size(x), x, factor_T, dy, dweight_D)
    return dweight_D


def gated_forward(kernels: Library, gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    h = torch.empty_like(gate)
    kernels.call("gated_forward", gate.dtype, *_size(gate), gate, up, h)
    return h


def gated_backward_(kernels: Library, gate: Tensor, up: Tensor, dh: Tensor) -> Tensor:
    """The gradient for up; the one for gate is written over dh."""
    dup = torch.empty_like(up)
    kernels.call("gated_backward", gate.dtype, *_size(gate), gate, up, dh, dup)
    return dup


def rotate(kernels: Library, x_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor, *, back: bool) -> Tensor:
    """x cos + turned(x) sin, or with the rotation turned round: a new tensor (T, H, D)."""
    rows, heads, width = x_THD.shape
    y = x_THD.new_empty(rows, heads, width)
    steps = x_THD.stride(0), x_THD.stride(1)
    kernels.call("rotate", x_THD.dtype, rows, heads, width, x_THD, *steps, cos_TD, sin_TD, y, int(back))
    return y


def logprobs_(kernels: Library, logits_SV: Tensor, token_S: Tensor, scale: float, *, slope: bool) -> Tensor:
    """log p(token) in float32, of logits times scale. slope: logits become scale * (softmax - onehot(token))."""
    logprob_S = logits_SV.new_empty(len(logits_SV), dtype=torch.float32)
    kernels.call("logprobs", logits_SV.dtype, *_size(logits_SV), logits_SV, token_S, scale, logprob_S, int(slope))
    return logprob_S


def _size(x: Tensor) -> tuple[int, int]:
    return x.numel() // x.shape[-1], x.shape[-1]


class _Heads(ctypes.Structure):
    _fields_ = (("numbers", ctypes.c_void_p), ("head", ctypes.c_long), ("token", ctypes.c_long))


TENSORS = ("query", "key", "value", "out", "dout", "dquery", "dkey", "dvalue")
COUNTS = ("rows", "heads", "key_heads", "width", "common", "window", "threads")


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, _Heads) for name in TENSORS),
        ("lse", ctypes.c_void_p),
        ("bounds", ctypes.c_void_p),
        *((name, ctypes.c_long) for name in COUNTS),
        ("scale", ctypes.c_float),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of one long row lie: lengths in tokens, the first `common` of which all others begin with."""

    lengths: Sequence[int]
    scale: float
    window: int | None
    common: int


def attention_forward(kernels: Library, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
    """For (H, T, D): the output, which lies (T, H, D), and the logarithm of each softmax's sum (H, T)."""
    heads, tokens, width = query.shape
    out, lse_HT = query.new_empty(tokens, heads, width), query.new_empty(heads, tokens, dtype=torch.float32)
    _attention(kernels, "attention_forward", rows, lse_HT, query=query, key=key, value=value, out=out.transpose(0, 1))
    return out, lse_HT


def attention_backward(
    kernels: Library,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out_THD: Tensor,
    lse_HT: Tensor,
    dout_THD: Tensor,
    rows: Rows,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for queries, keys and values, each of which lies (T, H, D)."""
    tokens, width = out_THD.shape[0], out_THD.shape[2]
    grads = [it.new_empty(tokens, it.shape[0], width) for it in (query, key, value)]
    turned = [it.transpose(0, 1) for it in (out_THD, dout_THD, *grads)]
    _attention(
        kernels, "attention_backward", rows, lse_HT, **dict(zip(TENSORS, (query, key, value, *turned), strict=True))
    )
    return grads[0], grads[1], grads[2]


def _attention(kernels: Library, name: str, rows: Rows, lse_HT: Tensor, **tensors: Tensor) -> None:
    query, key = tensors["query"], tensors["key"]
    bounds = torch.tensor([0, *rows.lengths]).cumsum(0)
    kernels.call_with(
        name,
        query.dtype,
        _Attention(
            **{name: _Heads(it.data_ptr(), it.stride(0), it.stride(1)) for name, it in tensors.items()},
            lse=lse_HT.data_ptr(),
            bounds=bounds.data_ptr(),
            rows=len(rows.lengths),
            heads=query.shape[0],
            key_heads=key.shape[0],
            width=query.shape[2],
            common=rows.common,
            window=rows.window or 0,
            threads=torch.get_num_threads(),
            scale=rows.scale,
        ),
    )
