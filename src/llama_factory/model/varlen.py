"""Attention over rows laid end to end by FlashAttention 2, as torch brings it: on a CUDA device, and nowhere else.

In: what `attention.attend` takes. Out: the same, from one call for all rows (`torch.nn.attention.varlen`); calls that
the kernel has no words for (no boundaries, capped scores, sinks, dropout) go to `attend`, so nothing is refused in the
middle of a run. `choose` says before the weights are there whether it is taken: `flash_attn: auto` takes it where it
fits, `fa2` demands it, every other value leaves it.

No package is needed. It was never run on a GPU here: tests put the kernel's documented meaning in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from llama_factory.errors import InputError
from llama_factory.model import attention

NAME = "llama_factory_varlen"
"""Without the word "flash" in it, by which transformers would take it for a kernel of its own."""

FORMATS = ("bfloat16", "float16")
CAPABILITY = (8, 0)
"""Ampere: what FlashAttention 2 was written for."""
WIDEST_HEAD = 256


def register() -> None:
    """Make NAME known to transformers: this attention, and the masks of `sdpa`. Again changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])


def choose(
    asked: str,
    *,
    device: str,
    dtype: str,
    config: Mapping[str, Any],
    capability: Callable[[], tuple[int, int]] = torch.cuda.get_device_capability,
) -> bool:
    """Whether rows are kept apart by this kernel. InputError where `fa2` is asked for and cannot be.

    config: config.json of the part that reads text. capability: of the card, asked only where there is one.
    """
    if asked not in ("auto", "fa2"):
        return False
    found = _against(device, dtype, config, capability)
    if found and asked == "fa2":
        raise InputError("model.no-flash", where="flash_attn", found=found)
    return not found


def _against(device: str, dtype: str, config: Mapping[str, Any], capability: Callable[[], tuple[int, int]]) -> str:
    """What is here in place of what the kernel needs; nothing where it fits."""
    if not device.startswith("cuda"):
        return device
    if dtype not in FORMATS:
        return dtype
    card = capability()
    if card < CAPABILITY:
        return ".".join(map(str, card))
    heads = config.get("num_attention_heads") or config.get("n_head")
    width = config.get("head_dim") or (config.get("hidden_size") or config.get("n_embd") or 0) // (heads or 1)
    return "" if 0 < width <= WIDEST_HEAD and width % 8 == 0 else f"head_dim {width}"


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
    """query (1, H, T, D); key, value (1, K, T, D), K groups of heads. Out: (1, T, H, D)."""
    if cu_seq_lens_q is None or softcap is not None or s_aux is not None or dropout > 0.0:
        return attention.attend(
            module, query, key, value, attention_mask, dropout, scaling, sliding_window, softcap, s_aux,
            cu_seq_lens_q, cu_seq_lens_k, **kwargs,
        )  # fmt: skip
    own = cu_seq_lens_q.diff().tolist()
    seen = own if cu_seq_lens_k is None else cu_seq_lens_k.diff().tolist()
    common = seen[-1] - own[-1]
    query_THD, key_TKD, value_TKD = (it[0].transpose(0, 1) for it in (query, key, value))
    if common:
        key_TKD, value_TKD = (_with_beginning(it, own, common) for it in (key_TKD, value_TKD))
    from torch.nn.attention.varlen import varlen_attn  # a second of torch's compiler: only where a GPU takes it

    out: Tensor = varlen_attn(  # type: ignore[assignment]
        query_THD.contiguous(), key_TKD.contiguous(), value_TKD.contiguous(),
        _boundaries(own, query.device), _boundaries(seen, query.device), max(own), max(seen),
        scale=scaling,
        # how far to the left and to the right of its own place a query sees; both ends of a row are aligned at its last
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return out[None], None


def _with_beginning(it_TKD: Tensor, own: list[int], common: int) -> Tensor:
    """The keys of every row, each behind the beginning that lies there once."""
    first, *others = torch.split(it_TKD, own)
    return torch.cat([first, *(part for other in others for part in (first[:common], other))])


def _boundaries(lengths: list[int], device: torch.device) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
