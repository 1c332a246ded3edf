"""Rows of files -> token arrays on disk -> steps for the loop.

`prepare` reads, converts, renders and stores what a run names; `batches` makes steps of it and
`evaluation_batches` one pass over it. The renderer is passed in. No torch here.
"""

from __future__ import annotations

from llama_factory.data.batching import StepSource, batches, evaluation_batches, sample_batch
from llama_factory.data.preparing import Prepared, prepare
from llama_factory.data.sizing import packs_rows, rows_per_step, seed_of, steps_per_epoch, token_budget
from llama_factory.data.store import StoredRow, TokenStore
from llama_factory.data.streaming import StreamSource
from llama_factory.data.summary import DataSetSummary, Summary, head_lines

__all__ = [
    "DataSetSummary",
    "Prepared",
    "StepSource",
    "StoredRow",
    "StreamSource",
    "Summary",
    "TokenStore",
    "batches",
    "evaluation_batches",
    "head_lines",
    "packs_rows",
    "prepare",
    "rows_per_step",
    "sample_batch",
    "seed_of",
    "steps_per_epoch",
    "token_budget",
]
