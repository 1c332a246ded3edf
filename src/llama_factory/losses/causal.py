"""Losses of causal language models on single texts: pre-training and supervised fine-tuning.

In: log-probabilities of the supervised tokens and their weights. Out: a `Term`. Which tokens are
supervised was decided by the renderer; which log-probabilities they got, by the policy. No shift here.
"""

from __future__ import annotations

from torch import Tensor

from llama_factory.losses.term import Term, weighed


def token_nll(logprob_S: Tensor, weight_S: Tensor, *, weight: float = 1.0) -> Term:
    """Negative log-likelihood: sum = - sum_s w_s log p(x_s | x_<s), count = sum_s w_s.

    Maximum likelihood of an autoregressive model, Bengio et al. 2003 (JMLR 3), eq. for L without the penalty,
    with a weight per token. sum / count over a whole step is the mean cross-entropy in nats per token, what
    `torch.nn.functional.cross_entropy(..., reduction="mean")` gives when every weight is 0 or 1.

    logprob_S: float32, log p of each supervised token given the tokens before it in its row.
    weight_S: float32, same length; how much each counts. weight: the factor of the whole term.
    """
    return weighed(-logprob_S, weight_S, weight=weight)
