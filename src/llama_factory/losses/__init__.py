"""Losses: tensors in, named terms (sum, count, weight) out. Pure functions; nothing here divides, reads or remembers.

A term is divided by its count once, by the training loop, over all micro-batches of a step.
"""

from __future__ import annotations

from llama_factory.losses.causal import token_nll
from llama_factory.losses.reweighted import asft, dft, eaft, smoothed
from llama_factory.losses.term import Term

__all__ = ["Term", "asft", "dft", "eaft", "smoothed", "token_nll"]
