"""Log-probabilities for a head of which some last rows learn and all others stay as they are.

    z = h W'      Z1 = sum over the rows before `start` of exp z,   Z2 = the same over those from `start` on
    log p(y) = log p1(y) - log(1 + Z2 / Z1)    for y before `start`, p1 the softmax over the first part alone
             = z_y - log(Z1 + Z2)              for y from `start` on

p1 is what `head` computes in one pass for a frozen head; the rest is as small as the rows that learn. So no row of the
first part gets a gradient, which would cost as much as training all of them. log Z1 = z_a - log p1(a) for any token a.

In: hidden states, the two parts, tokens. Out: log p in float32, with gradients for the hidden states and the last rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from llama_factory.model import upstream
from llama_factory.model.frozen import Frozen
from llama_factory.model.head import LogitRule, precise, token_logprobs

if TYPE_CHECKING:
    from peft.utils import TrainableTokensWrapper

SHARE = 4
"""At most one part in so many of a head is its last rows; beyond that it is computed as a module."""


@dataclass(frozen=True)
class LearningRows:
    """A head's whole weight (V, D), and in the place of these rows of it, all from `start` on, others that learn."""

    weight_VD: Tensor
    start: int
    at_K: Tensor
    rows_KD: Tensor

    @property
    def last_RD(self) -> Tensor:
        """The rows from `start` on: those that learn, and what stands between and behind them."""
        return self.weight_VD[self.start :].index_copy(0, self.at_K - self.start, self.rows_KD.to(self.weight_VD.dtype))


def of(head: nn.Module) -> LearningRows | None:
    """What of this head learns, if it is a linear map with rows of new tokens in it and nothing else."""
    from peft.utils import TrainableTokensWrapper

    if not isinstance(head, TrainableTokensWrapper):
        return None
    return _of(head)


def _of(head: TrainableTokensWrapper) -> LearningRows | None:
    layer = head.token_adapter
    base, found = layer.get_base_layer(), upstream.learned_rows(layer)
    if found is None or type(base) is not nn.Linear or base.bias is not None or base.weight.requires_grad:
        return None
    at_K, rows_KD = found
    start = int(at_K.min())
    if (len(base.weight) - start) * SHARE > len(base.weight):
        return None
    return LearningRows(base.weight, start, at_K, rows_KD)


def token_logprobs_with(
    hidden_SD: Tensor, rows: LearningRows, token_S: Tensor, rule: LogitRule, first: Frozen | None
) -> Tensor:
    """first: the rows before `start`, where they may be laid out."""
    first = first or Frozen(rows.weight_VD[: rows.start])
    weight_VD = first.weight_OI
    is_first_S = token_S < rows.start
    anchor_S = torch.where(is_first_S, token_S, 0)
    logprob_S = token_logprobs(hidden_SD, weight_VD, None, anchor_S, rule, first)
    exact = precise(hidden_SD.dtype)
    anchor_logit_S = rule.apply((hidden_SD.to(exact) * weight_VD[anchor_S].to(exact)).sum(-1))
    last_SR = rule.apply((hidden_SD @ rows.last_RD.to(hidden_SD.dtype).t()).to(exact))
    log_first_S, log_last_S = anchor_logit_S - logprob_S, last_SR.logsumexp(-1)
    own_S = last_SR.gather(-1, (token_S - rows.start).clamp(min=0)[:, None])[:, 0]
    old_S = logprob_S - nn.functional.softplus(log_last_S - log_first_S)
    return torch.where(is_first_S, old_S, own_S - torch.logaddexp(log_first_S, log_last_S))
