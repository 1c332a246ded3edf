"""A run in a process whose address space ends: how often its micro-batch was halved, and its gradient norm with and
without that. Started by `test_out_of_memory.py`.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from trainer_toys import toy_plan

from llama_factory.losses import Term
from llama_factory.records import Batch, Finding, Step
from llama_factory.trainer import Progress, fit
from llama_factory.trainer.observers import Quiet

ROWS, WIDTH = 64, 1_000_000


class Wide:
    """Each row takes 4 MB and its graph several times that."""

    def __init__(self) -> None:
        self.module = torch.nn.Module()
        self.w = self.module.w = torch.nn.Parameter(torch.ones(4))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"w": self.w}


def objective(policy: Wide, batch: Batch) -> Mapping[str, Term]:
    wide = torch.ones(batch.rows.size, WIDTH) * policy.w[0]
    return {"sft": Term((wide.sigmoid() * policy.w[1]).exp().mean(dim=1).sum(), float(batch.rows.size))}


class Once:
    steps_per_epoch = 1

    def next_step(self) -> Step:
        ones = np.ones(ROWS, dtype=np.float32)
        batch = Batch(ones.astype(np.int32), ones, np.arange(ROWS + 1), np.arange(ROWS))
        return Step((batch,), {"sft": float(ROWS)}, 1.0)

    def state(self) -> Mapping[str, int]:
        return {}

    def restore(self, state: Mapping[str, int]) -> None: ...

    def on_update(self, version: int) -> None: ...


class Ears(Quiet):
    def __init__(self) -> None:
        self.halved, self.norm = 0, 0.0

    def noticed(self, finding: Finding) -> None:
        self.halved += finding.id == "trainer.micro-batch-halved"

    def stepped(self, progress: Progress) -> None:
        self.norm = progress.grad_norm


def main() -> None:
    free, starved = Ears(), Ears()
    plan = toy_plan(max_steps=1, warmup_steps=0)
    fit(Wide(), Once(), objective, plan, observers=[free], origin=str)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = taken + 300_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    fit(Wide(), Once(), objective, plan, observers=[starved], origin=str)
    assert free.halved == 0
    print("halved", starved.halved, starved.norm, free.norm)


main()
