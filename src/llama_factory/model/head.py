"""From hidden states to log-probabilities of chosen tokens, without ever holding all logits.

In: the hidden states before the supervised tokens (S rows), the head's weight, the tokens themselves.
Out: log p(token) for each row, in float32, with gradients for hidden states, weight and bias.

The one formula, with z the logits of a row after scaling and capping, y its token, g the gradient that
the caller sends for that row's log-probability:

    logp = z_y - logsumexp(z)          d logp / d z = onehot(y) - softmax(z)

g is one number a row, so the gradient of a *frozen* head's input is g times a vector that the forward
already knows: it is computed there, in the same pass over the vocabulary, and the backward is one
multiplication. A trainable head needs the outer product with g inside the sum over rows, which nobody
knows before the backward: its logits are computed a second time there, chunk by chunk, since keeping
them costs S x V numbers and saves one product in four.

It does not know what a batch, a row of text or a loss is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 256
"""Rows of logits at a time: each chunk streams the whole head through the cache, so few and tall ones win."""


@dataclass(frozen=True, slots=True)
class LogitRule:
    """What a model type does to the logits after its head: `softcap * tanh(scale * logits / softcap)`."""

    scale: float = 1.0
    softcap: float | None = None

    def apply(self, logits: Tensor) -> Tensor:
        """The rule on float32 logits, in place where nobody needs them any more."""
        if self.scale != 1.0:
            logits = logits.mul_(self.scale) if not logits.requires_grad else logits * self.scale
        if self.softcap is None:
            return logits
        if logits.requires_grad:
            return self.softcap * torch.tanh(logits / self.softcap)
        return logits.div_(self.softcap).tanh_().mul_(self.softcap)

    def pull_back_(self, grad: Tensor, logits: Tensor) -> Tensor:
        """From the gradient of ruled logits to the gradient of the head's own, in place."""
        if self.softcap is not None:
            grad.addcmul_(grad * logits, logits, value=-1.0 / self.softcap**2)
        return grad.mul_(self.scale) if self.scale != 1.0 else grad


def token_logprobs(
    hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, token_S: Tensor, rule: LogitRule
) -> Tensor:
    """log p(token_S) in float32 for a linear head, in chunks; gradients flow to what requires them."""
    logprob_S: Tensor = _ChunkedHead.apply(hidden_SD, weight_VD, bias_V, token_S, rule)  # type: ignore[no-untyped-call]
    return logprob_S


def logprobs_of(logits_SV: Tensor, token_S: Tensor) -> Tensor:
    """The plain definition, on logits that exist: what every other path is compared with."""
    logp_SV = torch.log_softmax(logits_SV.to(precise(logits_SV.dtype)), dim=-1)
    return logp_SV.gather(-1, token_S[:, None])[:, 0]


def precise(dtype: torch.dtype) -> torch.dtype:
    """What probabilities are computed in: float32, or better where the model is."""
    return torch.promote_types(dtype, torch.float32)


class _Chunks:
    """The chunked softmax over the vocabulary, with its buffers made once and used for every chunk."""

    def __init__(self, hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, rule: LogitRule) -> None:
        self.hidden_SD, self.weight_VD, self.bias_V, self.rule = hidden_SD, weight_VD, bias_V, rule
        rows, size = min(CHUNK_ROWS, hidden_SD.shape[0]), weight_VD.shape[0]
        self.raw_CV = hidden_SD.new_empty(rows, size)
        exact = precise(hidden_SD.dtype)
        self.logits_CV = self.raw_CV if exact == hidden_SD.dtype else hidden_SD.new_empty(rows, size, dtype=exact)
        self.softmax_CV = torch.empty_like(self.logits_CV)

    def __iter__(self) -> Any:
        total, rows = self.hidden_SD.shape[0], self.raw_CV.shape[0]
        return (slice(start, min(start + rows, total)) for start in range(0, total, rows))

    def logprobs(self, part: slice, token_C: Tensor) -> Tensor:
        """Fills logits and softmax of these rows; returns the tokens' log-probabilities."""
        count = token_C.shape[0]
        raw, logits, probs = self.raw_CV[:count], self.logits_CV[:count], self.softmax_CV[:count]
        torch.mm(self.hidden_SD[part], self.weight_VD.t(), out=raw)
        if logits is not raw:
            logits.copy_(raw)
        if self.bias_V is not None:
            logits.add_(self.bias_V)
        self.rule.apply(logits)
        torch.softmax(logits, dim=-1, out=probs)
        # logsumexp from the largest probability, which is never too small for its logarithm.
        logsumexp_C = logits.amax(dim=-1) - probs.amax(dim=-1).log()
        return logits.gather(-1, token_C[:, None])[:, 0] - logsumexp_C

    def slope(self, token_C: Tensor, grad_C: Tensor | None) -> Tensor:
        """d logp / d (head's own logits) of the rows last filled, times grad_C, in the compute dtype."""
        count = token_C.shape[0]
        probs = self.softmax_CV[:count]
        probs.neg_()
        probs.scatter_add_(-1, token_C[:, None], torch.ones_like(probs[:, :1]))
        if grad_C is not None:
            probs.mul_(grad_C[:, None])
        self.rule.pull_back_(probs, self.logits_CV[:count])
        return probs if self.raw_CV.dtype == probs.dtype else self.raw_CV[:count].copy_(probs)


class _ChunkedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, token_S: Tensor, rule: LogitRule
    ) -> Tensor:
        trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        slope_in_forward = ctx.needs_input_grad[0] and not trains_head
        logprob_S = hidden_SD.new_empty(token_S.shape, dtype=precise(hidden_SD.dtype))
        slope_SD = torch.empty_like(hidden_SD) if slope_in_forward else None
        chunks = _Chunks(hidden_SD, weight_VD, bias_V, rule)
        for part in chunks:
            logprob_S[part] = chunks.logprobs(part, token_S[part])
            if slope_SD is not None:
                torch.mm(chunks.slope(token_S[part], None), weight_VD, out=slope_SD[part])
        ctx.rule = rule
        ctx.frozen = not trains_head
        if slope_in_forward:
            ctx.save_for_backward(slope_SD)
        elif trains_head:
            ctx.save_for_backward(hidden_SD, weight_VD, bias_V, token_S)
        return logprob_S

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad_S,) = grads
        if ctx.frozen:
            (slope_SD,) = ctx.saved_tensors
            return (slope_SD * grad_S[:, None]).to(slope_SD.dtype), None, None, None, None
        hidden_SD, weight_VD, bias_V, token_S = ctx.saved_tensors
        want_hidden, want_weight, want_bias = ctx.needs_input_grad[:3]
        dhidden_SD = torch.empty_like(hidden_SD) if want_hidden else None
        sums = precise(weight_VD.dtype)
        dweight_VD = torch.zeros_like(weight_VD, dtype=sums) if want_weight else None
        dbias_V = torch.zeros_like(bias_V, dtype=sums) if want_bias else None
        chunks = _Chunks(hidden_SD, weight_VD, bias_V, ctx.rule)
        for part in chunks:
            chunks.logprobs(part, token_S[part])
            slope_CV = chunks.slope(token_S[part], grad_S[part])
            if dhidden_SD is not None:
                torch.mm(slope_CV, weight_VD, out=dhidden_SD[part])
            if dweight_VD is not None:
                dweight_VD.add_(slope_CV.t() @ hidden_SD[part])
            if dbias_V is not None:
                dbias_V.add_(slope_CV.sum(dim=0, dtype=sums))
        return (
            dhidden_SD,
            None if dweight_VD is None else dweight_VD.to(weight_VD.dtype),
            None if dbias_V is None else dbias_V.to(bias_V.dtype),
            None,
            None,
        )
