"""Whether the output of layers that do not learn is kept from one epoch to the next, and where.

In: a run, its policy, rows and source. Out: the policy told to keep it, a line about it, or an error where it was
demanded and cannot be. The numbers of a run depend on the configuration alone, not on whether the file had room:
`model/prefix.py` computes each row in the same way whether it is kept or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llama_factory import storage
from llama_factory.errors import InputError, Language
from llama_factory.model.prefix import RowFile
from llama_factory.recipes.outcome import Say, tell
from llama_factory.recipes.wiring import Bench, plan_of
from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.data import Prepared
    from llama_factory.model.policy import Policy

KEY = "cache_frozen_layers"

EPOCHS = 1.5
"""Fewer epochs than this read too little back: in the first one rows are computed one by one, which takes longer."""

SHARE_OF_DISK = 2
"""The file takes at most one part in so many of what is free: checkpoints are to come."""


@contextmanager
def kept(
    bench: Bench, policy: Policy, rows: Prepared, steps_per_epoch: int, say: Say, language: Language
) -> Iterator[None]:
    """Inside, the policy keeps what its frozen layers make of a row, if that was asked for or pays."""
    run = bench.run
    asked = run.model.cache_frozen_layers
    depth = policy.frozen_layers() if _pays(run, bench, steps_per_epoch) else 0
    if not depth:
        if asked == "true":
            raise InputError("model.nothing-to-keep", where=run.where(KEY), found=type(policy.module).__name__)
        yield
        return
    size = _tokens(rows) * policy.bytes_a_token
    room = storage.free_bytes(bench.output) // SHARE_OF_DISK
    values = {"layers": depth, "size": storage.human(size), "room": storage.human(room), "folder": str(bench.output)}
    if size > room and asked == "true":
        raise InputError("model.no-room-to-keep", where=run.where(KEY), **values)
    with RowFile(bench.output, min(size, room)) as file:
        policy.keep_frozen_layers(file)
        tell(say, [Finding("model.layers-kept" if size <= room else "model.some-layers-kept", "note", KEY, values)],
             language)  # fmt: skip
        yield


def _pays(run: Run, bench: Bench, steps_per_epoch: int) -> bool:
    asked = run.model.cache_frozen_layers
    if asked != "auto":
        return asked == "true"
    total = plan_of(run, bench.precision).total_steps(steps_per_epoch)
    return run.model.fused_layers and not run.data.mixing.streaming and total >= EPOCHS * steps_per_epoch


def _tokens(rows: Prepared) -> int:
    """Of all rows that differ, those of the validation too."""
    return sum(
        int(store.lengths[store.different()].sum()) for store in (rows.train, rows.validation) if store is not None
    )
