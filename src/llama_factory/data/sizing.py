"""How large a step is, and how much of it is computed at a time.

In: the configuration's batch keys. Out: rows a step and a token budget. The budget changes speed and memory
only; `batching` cuts steps by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_factory.config import Run

ENOUGH_TOKENS = 4096
"""A micro-batch that large keeps a matrix unit busy; a larger one only takes more memory."""


def rows_per_step(run: Run) -> int:
    """Rows, or packs of rows, that one update of the weights is made of."""
    return run.training.per_device_train_batch_size * run.training.gradient_accumulation_steps


def token_budget(run: Run) -> int:
    """Tokens in one micro-batch: never more than the user sized the batch for, and never more than is of use."""
    if run.training.micro_batch_tokens is not None:
        return run.training.micro_batch_tokens
    return min(run.training.per_device_train_batch_size * run.data.cutoff_len, ENOUGH_TOKENS)


def steps_per_epoch(run: Run, units: int) -> int:
    """Steps in which every row, or every pack of rows, is seen once; the last may be smaller.

    Of a stream nobody knows: the steps of the run.
    """
    if run.data.mixing.streaming:
        return run.training.max_steps
    return -(-units // rows_per_step(run))


def seed_of(run: Run) -> int:
    """What the choice of rows and their order are drawn by."""
    given = run.data.mixing.data_seed
    return run.training.seed if given is None else given


def packs_rows(run: Run) -> bool:
    """Whether a step counts packs of rows instead of rows."""
    given = run.data.mixing.packing
    return run.data.mixing.neat_packing or (run.stage == "pt" if given is None else given)
