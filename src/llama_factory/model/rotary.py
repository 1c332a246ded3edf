"""Rotary position embedding in one pass, forward and backward, with the compiled kernel.

In: a loaded model. Out: the same model, whose family's `apply_rotary_pos_emb` takes the kernel where it knows the
tensors, and is what it was everywhere else. With turned(x) = (-second half of x, first half of x):

    y = x cos + turned(x) sin        dx = dy cos - turned(dy sin)

RoPE, Su et al. 2021 (arXiv 2104.09864), eq. 34, with the halves as transformers lays them. transformers makes six
tensors of the size of x on the way. Families that rotate in another way are known by their numbers, not by the name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from llama_factory.model import upstream
from llama_factory.model.native import calls
from llama_factory.model.native.library import Library, library_for
from llama_factory.model.swap import same_but_for_rounding

Rotate = Callable[..., tuple[Tensor, Tensor]]


def replace(model: nn.Module) -> int:
    """Let the model's families rotate in one pass; how many functions were exchanged, now or before."""
    return sum(upstream.rotate_with(namespace, _ours_for) for namespace in upstream.rotating(model))


def _ours_for(theirs: Rotate) -> Rotate | None:
    """Ours around theirs, if both rotate alike."""

    def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        kernels = library_for(q, k, cos, sin) if not args and not kwargs and _plain(q, k, cos, sin) else None
        if kernels is None:
            return theirs(q, k, cos, sin, *args, **kwargs)
        places = cos[0].contiguous(), sin[0].contiguous()
        return _Rotated.apply(q, *places, kernels), _Rotated.apply(k, *places, kernels)  # type: ignore[no-untyped-call]

    generator = torch.Generator().manual_seed(0)
    q, k, cos, sin = (
        torch.randn(shape, generator=generator) for shape in [(1, 2, 3, 8), (1, 1, 3, 8)] + 2 * [(1, 3, 8)]
    )
    try:
        right = theirs(q, k, cos, sin)
    except (TypeError, RuntimeError, ValueError, IndexError):  # another signature, other shapes
        return None
    halves = [torch.cat([-it[..., 4:], it[..., :4]], dim=-1) for it in (q, k)]
    defined = [it * cos[:, None] + half * sin[:, None] for it, half in zip((q, k), halves, strict=True)]
    return rotated if all(map(same_but_for_rounding, defined, right)) else None


def _plain(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> bool:
    """One long row, (1, H, T, D), and an angle for each of its places and numbers."""
    alike = q.dim() == k.dim() == 4 and cos.shape == sin.shape == (1, q.shape[2], q.shape[3]) == (1, *k.shape[2:])
    return alike and q.shape[0] == k.shape[0] == 1 and q.shape[3] % 2 == 0 and q.stride(3) == k.stride(3) == 1


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos_TD: Tensor, sin_TD: Tensor, kernels: Library) -> Tensor:
        ctx.save_for_backward(cos_TD, sin_TD)
        ctx.kernels = kernels
        return calls.rotate(kernels, x[0].transpose(0, 1), cos_TD, sin_TD, back=False).transpose(0, 1)[None]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos_TD, sin_TD = ctx.saved_tensors
        dy = grads[0] if grads[0].stride(3) == 1 else grads[0].contiguous()
        dx_THD = calls.rotate(ctx.kernels, dy[0].transpose(0, 1), cos_TD, sin_TD, back=True)
        return dx_THD.transpose(0, 1)[None], None, None, None
