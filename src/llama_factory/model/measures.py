"""What some losses ask of the whole distribution at a token, without ever holding all logits.

In: what stands before the head at S supervised tokens, the head, the tokens. Out: for each token its log-probability
and what else is wanted, in float32, with gradients. Chunks of rows are computed twice, in the forward and in the
backward, so that no more than one chunk of logits is ever there.

The two-sided head of `model/head.py` is faster and knows log-probabilities alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from llama_factory.model.head import CHUNK_ROWS, precise

LIKELIEST = 20
"""Tokens whose entropy is taken, Diao et al. 2026 (arXiv 2601.02151)."""


class Measure(str, Enum):
    """mean: of log p_v over the vocabulary. entropy: of the likeliest tokens. divergence: KL(reference || policy)."""

    MEAN = "mean"
    ENTROPY = "entropy"
    DIVERGENCE = "divergence"


Head = Callable[[Tensor], Tensor]
"""Rows before the head -> their logits, scaled and capped as the model type does, in float32."""


@dataclass(frozen=True)
class Reference:
    """What another model, or this one without its adapters, has before its head at the same tokens."""

    before_SD: Tensor
    head: Head


def measure(
    before_SD: Tensor, head: Head, token_S: Tensor, wanted: frozenset[Measure], reference: Reference | None = None
) -> tuple[Tensor, dict[Measure, Tensor]]:
    """log p(token) of each row, and what is wanted. reference: for `divergence`."""

    def part(before_CD: Tensor, token_C: Tensor, theirs_CD: Tensor | None) -> tuple[Tensor, ...]:
        logp_CV = torch.log_softmax(head(before_CD), dim=-1)
        found = [logp_CV.gather(-1, token_C[:, None])[:, 0]]
        for one in sorted(wanted):
            if one is Measure.MEAN:
                found.append(logp_CV.mean(dim=-1))
            elif one is Measure.ENTROPY:
                found.append(likeliest_entropy(logp_CV.detach()))
            elif reference is not None and theirs_CD is not None:
                with torch.no_grad():
                    theirs_CV = torch.log_softmax(reference.head(theirs_CD), dim=-1)
                found.append((theirs_CV.exp() * (theirs_CV - logp_CV)).sum(dim=-1))
        return tuple(found)

    parts = []
    for start in range(0, before_SD.shape[0], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        theirs = None if reference is None else reference.before_SD[rows]
        parts.append(checkpoint(part, before_SD[rows], token_S[rows], theirs, use_reentrant=False))
    joined = [torch.cat(columns) for columns in zip(*parts, strict=True)]
    return joined[0], dict(zip(sorted(wanted), joined[1:], strict=True))


def likeliest_entropy(logp_CV: Tensor) -> Tensor:
    """H = - sum_k q_k log q_k / log K of the K likeliest tokens, q their shares among themselves: from 0 to 1."""
    count = min(LIKELIEST, logp_CV.shape[-1])
    top_CK = logp_CV.topk(count, dim=-1).values
    logq_CK = torch.log_softmax(top_CK, dim=-1)
    entropy_C: Tensor = -(logq_CK.exp() * logq_CK).sum(dim=-1) / math.log(count)
    return entropy_C.clamp(0.0, 1.0)


def plainly(logits_CV: Tensor) -> Tensor:
    """The head where the logits are there already."""
    return logits_CV.to(precise(logits_CV.dtype))
