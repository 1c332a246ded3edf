"""From hidden states to log-probabilities of chosen tokens, without ever holding all logits.

In: the hidden states before the supervised tokens (S rows), the head's weight, the tokens themselves.
Out: log p(token) for each row, in float32, with gradients for hidden states, weight and bias.

The one formula, with z the logits of a row after scaling and capping, y its token, g the gradient that
the caller sends for that row's log-probability:

    logp = z_y - logsumexp(z)          d logp / d z = onehot(y) - softmax(z)

g is one number a row, so the gradient of a *frozen* head's input is g times a vector that the forward
already knows: it is computed there, in the same pass over the vocabulary, and the backward is one
multiplication. A trainable head needs g inside its sum over rows, which nobody knows before the backward:
it keeps the rows' softmax in the compute dtype, and
computes those again that do not fit into KEPT_BYTES.

A plain head's softmax is one pass of a compiled kernel where there are some (`native`).

It does not know what a batch, a row of text or a loss is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llama_factory.model.frozen import Frozen
from llama_factory.model.native import calls
from llama_factory.model.native.library import library_for

CHUNK_ROWS = 256
"""Rows of logits at a time: each chunk streams the whole head through the cache, so few and tall ones win."""

FLAT_ROWS = 32
"""Rows of float32 logits at a time: few enough to stay in the cache, enough for every core to have some. On any other
device a whole chunk: there each pass is a launch, and no cache holds rows."""

KEPT_BYTES = 512 * 2**20
"""A trainable head keeps this much of its softmax for the backward; rows beyond it are computed again."""


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
    hidden_SD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    token_S: Tensor,
    rule: LogitRule,
    frozen: Frozen | None = None,
) -> Tensor:
    """log p(token_S) in float32 for a linear head, in chunks; gradients flow to what requires them.

    frozen: the weight where it does not learn and may be laid out.
    """
    frozen = frozen or Frozen(weight_VD)
    logprob_S: Tensor = _ChunkedHead.apply(hidden_SD, weight_VD, bias_V, token_S, rule, frozen)  # type: ignore[no-untyped-call]
    return logprob_S


def logprobs_of(logits_SV: Tensor, token_S: Tensor) -> Tensor:
    """The plain definition, on logits that exist: what every other path is compared with."""
    logp_SV = torch.log_softmax(logits_SV.to(precise(logits_SV.dtype)), dim=-1)
    return logp_SV.gather(-1, token_S[:, None])[:, 0]


def precise(dtype: torch.dtype) -> torch.dtype:
    """What probabilities are computed in: float32, or better where the model is."""
    return torch.promote_types(dtype, torch.float32)


class _Chunks:
    """The softmax over the vocabulary, chunk by chunk, with buffers made once and used for all.

    The products take CHUNK_ROWS at a time. What is done to single numbers in between, in float32, takes
    FLAT_ROWS at a time, so that it stays in the processor's cache.
    """

    def __init__(self, hidden_SD: Tensor, frozen: Frozen, bias_V: Tensor | None, rule: LogitRule) -> None:
        self.hidden_SD, self.frozen, self.bias_V, self.rule = hidden_SD, frozen, bias_V, rule
        plain = bias_V is None and rule.softcap is None
        self.kernels = library_for(hidden_SD, frozen.weight_OI) if plain else None
        rows, size = 0 if self.kernels else hidden_SD.shape[0], frozen.weight_OI.shape[0]
        self.flat = FLAT_ROWS if hidden_SD.device.type == "cpu" else CHUNK_ROWS
        self.logits_FV = hidden_SD.new_empty(min(self.flat, rows), size, dtype=precise(hidden_SD.dtype))
        self.softmax_FV = torch.empty_like(self.logits_FV)

    def parts(self, start: int = 0) -> Iterator[slice]:
        return _slices(start, self.hidden_SD.shape[0], CHUNK_ROWS)

    def logprobs(self, part: slice, token_S: Tensor, into_S: Tensor | None, *, want_slope: bool) -> Tensor:
        """Writes these rows' log-probabilities; returns the slope of each, -d logp / d (head's own logits)."""
        token_C, raw_CV = token_S[part, None], self.frozen.through(self.hidden_SD[part])
        if self.kernels is not None:
            logprob_C = calls.logprobs_(self.kernels, raw_CV, token_S[part], self.rule.scale, slope=want_slope)
            if into_S is not None:
                into_S[part] = logprob_C
            return raw_CV
        for flat in _slices(0, raw_CV.shape[0], self.flat):
            token_F1 = token_C[flat]
            logits_FV, softmax_FV = self.logits_FV[: len(token_F1)], self.softmax_FV[: len(token_F1)]
            logits_FV.copy_(raw_CV[flat])
            if self.bias_V is not None:
                logits_FV.add_(self.bias_V)
            self.rule.apply(logits_FV)
            torch.softmax(logits_FV, dim=-1, out=softmax_FV)
            if into_S is not None:
                # logsumexp from the largest probability, which is never too small for its logarithm
                logsumexp_F1 = logits_FV.amax(-1, keepdim=True) - softmax_FV.amax(-1, keepdim=True).log()
                into_S[part][flat] = (logits_FV.gather(-1, token_F1) - logsumexp_F1)[:, 0]
            if want_slope:
                softmax_FV.scatter_add_(-1, token_F1, softmax_FV.new_full(token_F1.shape, -1.0))
                raw_CV[flat] = self.rule.pull_back_(softmax_FV, logits_FV)
        return raw_CV


class _ChunkedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, token_S: Tensor, rule: LogitRule,
        frozen: Frozen,
    ) -> Tensor:  # fmt: skip
        ctx.trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        slopes = ctx.needs_input_grad[0] and not ctx.trains_head
        chunks = _Chunks(hidden_SD, frozen, bias_V, rule)
        logprob_S = hidden_SD.new_empty(token_S.shape, dtype=precise(hidden_SD.dtype))
        slope_SD = torch.empty_like(hidden_SD) if slopes else None
        slope_KV = hidden_SD.new_empty(_kept_rows(hidden_SD, weight_VD) if ctx.trains_head else 0, weight_VD.shape[0])
        for part in chunks.parts():
            keep = part.stop <= slope_KV.shape[0]
            slope_CV = chunks.logprobs(part, token_S, logprob_S, want_slope=slopes or keep)
            if slope_SD is not None:
                slope_SD[part] = frozen.back(slope_CV)
            elif keep:
                slope_KV[part] = slope_CV
            del slope_CV  # so that the next one takes its place
        ctx.rule = rule
        if ctx.trains_head:
            ctx.save_for_backward(slope_KV, hidden_SD, weight_VD, bias_V, token_S)
        elif slopes:
            ctx.save_for_backward(slope_SD)
        return logprob_S

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad_S,) = grads
        if not ctx.trains_head:
            (slope_SD,) = ctx.saved_tensors
            return (slope_SD * -grad_S[:, None]).to(slope_SD.dtype), None, None, None, None, None
        slope_KV, hidden_SD, weight_VD, bias_V, token_S = ctx.saved_tensors
        sums = _Gradients(ctx.needs_input_grad, hidden_SD, weight_VD, -grad_S)
        sums.add(slice(0, slope_KV.shape[0]), slope_KV)
        if slope_KV.shape[0] < hidden_SD.shape[0]:
            chunks = _Chunks(hidden_SD, Frozen(weight_VD), bias_V, ctx.rule)
            for part in chunks.parts(slope_KV.shape[0]):
                sums.add(part, chunks.logprobs(part, token_S, None, want_slope=True))
        return *sums.found(bias_V), None, None, None


def _slices(start: int, stop: int, size: int) -> Iterator[slice]:
    return (slice(at, min(at + size, stop)) for at in range(start, stop, size))


def _kept_rows(hidden_SD: Tensor, weight_VD: Tensor) -> int:
    """How many rows' slopes may be kept for the backward: whole chunks within KEPT_BYTES, or all rows."""
    rows = KEPT_BYTES // (weight_VD.shape[0] * hidden_SD.element_size())
    total: int = hidden_SD.shape[0]
    return total if rows >= total else rows - rows % CHUNK_ROWS


class _Gradients:
    """What a trainable head sends back, summed over parts of the rows."""

    def __init__(self, wanted: tuple[bool, ...], hidden_SD: Tensor, weight_VD: Tensor, minus_S: Tensor) -> None:
        self.weight_VD, self.grad_S1 = weight_VD, minus_S[:, None]
        self.weighted_SD = (hidden_SD * self.grad_S1).to(hidden_SD.dtype)
        self.dhidden_SD = torch.empty_like(hidden_SD) if wanted[0] else None
        self.dweight_VD: Tensor | None = None
        self.dbias_V: Tensor | None = None
        self.wanted = wanted

    def add(self, part: slice, slope_PV: Tensor) -> None:
        """slope_PV: -d logp / d logits of the rows in `part`."""
        if part.start == part.stop:
            return
        if self.dhidden_SD is not None:
            self.dhidden_SD[part] = torch.mm(slope_PV, self.weight_VD) * self.grad_S1[part]
        if self.wanted[1]:
            more_VD = torch.mm(slope_PV.t(), self.weighted_SD[part])
            self.dweight_VD = (
                more_VD if self.dweight_VD is None else self.dweight_VD.to(precise(more_VD.dtype)) + more_VD
            )
        if self.wanted[2]:
            more_V = slope_PV.to(precise(slope_PV.dtype)).t() @ self.grad_S1[part, 0]
            self.dbias_V = more_V if self.dbias_V is None else self.dbias_V + more_V

    def found(self, bias_V: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        dweight_VD = None if self.dweight_VD is None else self.dweight_VD.to(self.weight_VD.dtype)
        dbias_V = None if self.dbias_V is None or bias_V is None else self.dbias_V.to(bias_V.dtype)
        return self.dhidden_SD, dweight_VD, dbias_V
