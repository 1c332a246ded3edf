"""How the rows of a batch are laid before the model.

In: a `Batch` (rows end to end, no padding) and a backbone. Out: the hidden states that stand before the
supervised tokens, in the order of those tokens, whichever layout was taken:

    shared   packed, and the tokens that all rows begin with (a system prompt, a tool's schema) laid and computed once
    packed   one long row, positions starting again at each document, attention per document
    padded   rows of similar length side by side, filled up on the right, no mask: a causal model never
             looks right, so a filler changes nothing that is read
    rows     one row at a time

Which layout a model type may have is not decided here, and neither are losses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llama_factory.model.attention import no_mask
from llama_factory.records import Batch

MAX_WASTE = 0.1
"""Of the padded layout: at most this share of a forward is filler."""


class Layout(str, Enum):
    SHARED = "shared"
    PACKED = "packed"
    PADDED = "padded"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Supervised:
    """The rows that are worth a forward, cut after the last token that predicts something.

    ids_T, lengths_R: these rows end to end.
    common: so many first tokens are the same in all rows, of which each goes on; 0 for a single row.
    before_S: for each supervised token the place in ids_T of the token before it.
    index_S: the supervised tokens' places in the batch.
    """

    ids_T: Tensor
    lengths_R: tuple[int, ...]
    common: int
    before_S: Tensor
    index_S: Tensor
    token_S: Tensor


def supervised(batch: Batch, device: torch.device) -> Supervised:
    """Leave out what no supervised token reads: rows without one, and the tail of each row."""
    index_S = np.flatnonzero(batch.weight_T)
    starts_R, row_S = batch.offsets[:-1], np.searchsorted(batch.offsets, index_S, side="right") - 1
    needed_R = np.zeros(len(starts_R), dtype=np.int64)
    np.maximum.at(needed_R, row_S, index_S - starts_R[row_S])
    new_starts_R = np.concatenate([[0], np.cumsum(needed_R)])[:-1]
    before_S = new_starts_R[row_S] + index_S - starts_R[row_S] - 1
    kept = [batch.ids_T[start : start + n] for start, n in zip(starts_R, needed_R, strict=True)]
    ids_T = np.concatenate([np.empty(0, np.int32), *kept])

    def to_device(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(device)

    return Supervised(
        ids_T=to_device(ids_T),
        lengths_R=tuple(int(n) for n in needed_R if n),
        common=_common([row for row in kept if row.size]),
        before_S=to_device(before_S),
        index_S=to_device(index_S),
        token_S=to_device(batch.ids_T[index_S]),
    )


def _common(rows: list[NDArray[np.int32]]) -> int:
    if len(rows) < 2:
        return 0
    shortest = min(row.size for row in rows) - 1
    differs = (np.stack([row[:shortest] for row in rows]) != rows[0][:shortest]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


Backbone = Callable[..., Any]


def hidden_states(layout: Layout, backbone: Backbone, rows: Supervised, also: tuple[str, ...]) -> Tensor:
    """The last hidden state before every supervised token (S, D)."""
    if layout is Layout.SHARED and not rows.common:
        layout = Layout.PACKED
    return _LAYOUTS[layout](backbone, rows, also)


def _shared(backbone: Backbone, rows: Supervised, also: tuple[str, ...]) -> Tensor:
    """The common beginning, then what follows it in each row: `place_T` is where a row's token went."""
    common, device = rows.common, rows.ids_T.device
    parts = torch.split(rows.ids_T, list(rows.lengths_R))
    ids_T = torch.cat([parts[0][:common], *(part[common:] for part in parts)])
    starts = np.cumsum([common, *(n - common for n in rows.lengths_R)])
    beginning = torch.arange(common, device=device)
    place_T = torch.cat([
        it for start, stop in pairwise(starts)
        for it in (beginning, torch.arange(start, stop, device=device))
    ])  # fmt: skip
    return _in_one_row(backbone, ids_T, isolation(rows.lengths_R, device, common), also)[place_T[rows.before_S]]


def _packed(backbone: Backbone, rows: Supervised, also: tuple[str, ...]) -> Tensor:
    return _in_one_row(backbone, rows.ids_T, isolation(rows.lengths_R, rows.ids_T.device), also)[rows.before_S]


def _in_one_row(backbone: Backbone, ids_T: Tensor, apart: dict[str, Any], also: tuple[str, ...]) -> Tensor:
    ids_1T = ids_T[None]
    out = backbone(input_ids=ids_1T, use_cache=False, **apart, **_zeros(also, ids_1T))
    hidden_TD: Tensor = out.last_hidden_state[0]
    return hidden_TD


def isolation(lengths_R: tuple[int, ...], device: torch.device, common: int = 0) -> dict[str, Any]:
    """The forward's keywords that keep documents apart. The one place where another kernel would be named.

    common: so many tokens that all documents begin with are laid once, before them. Then the boundaries of the
    queries are those of the beginning and of what follows it, and those of the keys count it into each document.
    """
    seen = [common, *lengths_R] if common else list(lengths_R)
    own = [common, *(n - common for n in lengths_R)] if common else seen
    positions = [torch.arange(stop - n, stop, device=device) for stop, n in zip(seen, own, strict=True)]
    return {
        "position_ids": torch.cat(positions)[None],
        "attention_mask": no_mask(torch.empty(0, device=device)),
        "cu_seq_lens_q": _boundaries(own),
        "cu_seq_lens_k": _boundaries(seen),
        "max_length_q": max(own),
        "max_length_k": max(seen),
    }


def _boundaries(lengths: list[int]) -> Tensor:
    return torch.nn.functional.pad(torch.tensor(lengths).cumsum(0, dtype=torch.int32), (1, 0))


def _padded(backbone: Backbone, rows: Supervised, also: tuple[str, ...]) -> Tensor:
    parts = torch.split(rows.ids_T, list(rows.lengths_R))
    hidden_R: list[Tensor] = [rows.ids_T] * len(parts)
    for group in _similar(rows.lengths_R):
        ids_BT = torch.nn.utils.rnn.pad_sequence([parts[r] for r in group], batch_first=True)
        hidden_BTD = backbone(input_ids=ids_BT, use_cache=False, **_zeros(also, ids_BT)).last_hidden_state
        for b, r in enumerate(group):
            hidden_R[r] = hidden_BTD[b, : rows.lengths_R[r]]
    return torch.cat(hidden_R)[rows.before_S]


def _rows(backbone: Backbone, rows: Supervised, also: tuple[str, ...]) -> Tensor:
    hidden_R = [
        backbone(input_ids=ids_T[None], use_cache=False, **_zeros(also, ids_T[None])).last_hidden_state[0]
        for ids_T in torch.split(rows.ids_T, list(rows.lengths_R))
    ]
    return torch.cat(hidden_R)[rows.before_S]


def _similar(lengths_R: tuple[int, ...]) -> list[list[int]]:
    """Rows from long to short, in groups that waste at most MAX_WASTE on filler."""
    groups: list[list[int]] = []
    longest = real = 0
    for r in sorted(range(len(lengths_R)), key=lambda r: -lengths_R[r]):
        if groups and real + lengths_R[r] >= (1 - MAX_WASTE) * longest * (len(groups[-1]) + 1):
            groups[-1].append(r)
            real += lengths_R[r]
        else:
            groups.append([r])
            longest = real = lengths_R[r]
    return groups


def _zeros(also: tuple[str, ...], like: Tensor) -> dict[str, Tensor]:
    """Inputs that a type insists on and that say nothing about text, such as token_type_ids."""
    return {name: torch.zeros_like(like) for name in also}


_LAYOUTS = {Layout.SHARED: _shared, Layout.PACKED: _packed, Layout.PADDED: _padded, Layout.ROWS: _rows}
