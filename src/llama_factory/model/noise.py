"""NEFTune: uniform noise on the embeddings of what is read, while training and at no other time.

    x' = x + alpha / sqrt(L D) * u,   u uniform within -1 .. 1, L tokens of the document, D the width

Jain et al. 2023 (arXiv 2310.05914), algorithm 1. In a row of several documents each has its own L. The noise is drawn
from torch's own generator, whose state every checkpoint holds, so that a resumed run draws the same.

In: the model's embedding. Out: nothing; a hook is on it that knows the lengths it was told last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Noise:
    """alpha: `neftune_noise_alpha`. Nothing is added where the embedding is in evaluation mode."""

    def __init__(self, embedding: nn.Module, alpha: float) -> None:
        self.alpha = alpha
        self._embedding = embedding
        self._lengths: tuple[int, ...] = ()
        embedding.register_forward_hook(self._add)

    @property
    def drawn(self) -> bool:
        """Whether the next forward gets some."""
        return self._embedding.training

    @contextmanager
    def over(self, lengths: Sequence[int]) -> Iterator[None]:
        """Rows of this many tokens are laid end to end in what is read until the block ends."""
        self._lengths = tuple(lengths)
        try:
            yield
        finally:
            self._lengths = ()

    def _add(self, module: nn.Module, inputs: Any, out: Tensor) -> Tensor | None:
        if not self.drawn:
            return None
        tokens, width = out.shape[-2:]
        lengths = self._lengths if sum(self._lengths) == tokens else (tokens,)
        sizes = [self.alpha / math.sqrt(length * width) for length in lengths]
        repeats = torch.tensor(lengths, device=out.device)
        size_T1 = torch.tensor(sizes, device=out.device).repeat_interleave(repeats)[:, None]
        noise = torch.empty(out.shape, device=out.device, dtype=torch.float32).uniform_(-1, 1)
        return out + (noise * size_T1).to(out.dtype)
