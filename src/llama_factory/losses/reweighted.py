"""Losses of supervised fine-tuning beside the plain likelihood: DFT, EAFT, ASFT, smoothed labels.

In: what the policy measured at the supervised tokens, and their weights w. Out: a `Term` with the count of `token_nll`,
sum_s w_s, so that each is right under accumulation. p_s = p(x_s | x_<s); sg() lets no gradient through.
"""

from __future__ import annotations

from torch import Tensor

from llama_factory.losses.term import Term, weighed


def dft(logprob_S: Tensor, weight_S: Tensor) -> Term:
    """Dynamic fine-tuning, Wu et al. 2025 (arXiv 2508.05629), eq. 9: sum = - sum_s w_s sg(p_s) log p_s.

    logprob_S: float32, log p of each supervised token. weight_S: how much each counts.
    """
    return weighed(-logprob_S.detach().exp() * logprob_S, weight_S)


def eaft(logprob_S: Tensor, entropy_S: Tensor, weight_S: Tensor, *, alpha: float) -> Term:
    """Entropy-adaptive fine-tuning, Diao et al. 2026 (arXiv 2601.02151): sum = - sum_s w_s sg(H_s)^alpha log p_s.

    entropy_S: of the likeliest tokens at each place, between 0 (certain) and 1: see `model.measures`.
    """
    return weighed(-entropy_S.detach().pow(alpha) * logprob_S, weight_S)


def asft(logprob_S: Tensor, divergence_S: Tensor, weight_S: Tensor, *, alpha: float) -> Term:
    """Anchored SFT, Zhu et al. 2025 (arXiv 2509.23753): sum = sum_s w_s (- sg(p_s) log p_s + alpha KL_s).

    divergence_S: KL(base || policy) in nats over the whole vocabulary, at each place.
    """
    return weighed(-logprob_S.detach().exp() * logprob_S + alpha * divergence_S, weight_S)


def smoothed(logprob_S: Tensor, mean_S: Tensor, weight_S: Tensor, *, factor: float) -> Term:
    """Label smoothing, Szegedy et al. 2016 (arXiv 1512.00567), section 7, uniform over the vocabulary of V tokens.

    sum = - sum_s w_s ((1 - factor) log p_s + factor / V sum_v log p_v), what
    `torch.nn.functional.cross_entropy(..., label_smoothing=factor)` gives. mean_S: the mean of log p_v.
    """
    return weighed(-(1 - factor) * logprob_S - factor * mean_S, weight_S)
