"""The steps of a run, from its rows. Wiring only, and without torch, so that `check` can look at them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_factory import data

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.data import Prepared
    from llama_factory.records import Step

LOOKED_AHEAD = 500
"""Steps among which the largest micro-batch is looked for before the weights are there."""


def source_of(run: Run, rows: Prepared, term: str) -> data.StepSource | data.StreamSource:
    """The steps of the run. `term` names what each of them counts."""
    if rows.stream is not None:
        return data.StreamSource(
            rows.stream,
            rows.train,
            rows_per_step=data.rows_per_step(run),
            micro_batch_tokens=data.token_budget(run),
            shuffle=not run.data.disable_shuffling,
            term=term,
            steps=run.training.max_steps,
            pack_tokens=run.data.cutoff_len if data.packs_rows(run) else None,
        )
    return data.batches(
        rows.train,
        rows_per_step=data.rows_per_step(run),
        micro_batch_tokens=data.token_budget(run),
        seed=data.seed_of(run),
        shuffle=not run.data.disable_shuffling,
        term=term,
        packs=rows.packs,
    )


def largest(run: Run, source: data.StepSource | data.StreamSource) -> Step:
    """The largest micro-batch of the first steps, as a step of its own."""
    steps = run.training.max_steps if run.training.max_steps > 0 else source.steps_per_epoch
    return source.largest(min(steps, LOOKED_AHEAD))
