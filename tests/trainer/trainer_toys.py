"""A policy, a source and an objective small enough for hundreds of runs, and nothing of the other rooms.

The toy predicts each token from the one before it: rows laid end to end need no attention mask, dropout draws
from torch's generator, and there are weights that decay (matrices) and weights that do not (biases, a norm).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from llama_factory.losses import Term, token_nll
from llama_factory.records import Batch, Finding, Step
from llama_factory.trainer import Checkpoints, FitPlan, Progress
from llama_factory.trainer.observers import Quiet

VOCABULARY = 23


class Toy(nn.Module):
    def __init__(self, *, dropout: float, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed = nn.Embedding(VOCABULARY, 8)
            self.norm = nn.LayerNorm(8)
            self.hidden = nn.Linear(8, 12)
            self.head = nn.Linear(12, VOCABULARY)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids_T: Tensor) -> Tensor:
        hidden = torch.tanh(self.hidden(self.norm(self.embed(ids_T))))
        return torch.log_softmax(self.head(self.dropout(hidden)).float(), dim=-1)


class ToyPolicy:
    def __init__(self, *, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        self.module = Toy(dropout=dropout).to(dtype)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def logprobs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities and weights of the supervised tokens."""
        ids_T = torch.from_numpy(batch.ids_T.astype(np.int64))
        index_S = torch.from_numpy(np.flatnonzero(batch.weight_T))
        logprob_TV = self.module(ids_T[index_S - 1])
        logprob_S = logprob_TV.gather(-1, ids_T[index_S, None]).squeeze(-1)
        return logprob_S, torch.from_numpy(batch.weight_T)[index_S]


def objective(policy: ToyPolicy, batch: Batch) -> Mapping[str, Term]:
    return {"sft": token_nll(*policy.logprobs(batch))}


@dataclass
class ToySource:
    """Rows in a fresh order each epoch, cut into micro-batches of `rows_per_batch`."""

    rows: list[tuple[np.ndarray, np.ndarray]]
    rows_per_step: int = 4
    rows_per_batch: int = 2
    seed: int = 0
    taken: int = 0
    updates: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.rows) // self.rows_per_step)

    def next_step(self) -> Step:
        epoch, at = divmod(self.taken, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        chosen = order[at * self.rows_per_step : (at + 1) * self.rows_per_step].tolist()
        self.taken += 1
        groups = [chosen[i : i + self.rows_per_batch] for i in range(0, len(chosen), self.rows_per_batch)]
        count = float(sum(self.rows[row][1].sum() for row in chosen))
        return Step(
            tuple(self.batch(group) for group in groups), {"sft": count}, epoch=self.taken / self.steps_per_epoch
        )

    def batch(self, rows: list[int]) -> Batch:
        lengths = [len(self.rows[row][0]) for row in rows]
        return Batch(
            np.concatenate([self.rows[row][0] for row in rows]),
            np.concatenate([self.rows[row][1] for row in rows]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.array(rows, dtype=np.int64),
        )

    def all_batches(self) -> Iterable[Batch]:
        return [self.batch([row]) for row in range(len(self.rows))]

    def state(self) -> dict[str, int]:
        return {"taken": self.taken}

    def restore(self, state: Mapping[str, int]) -> None:
        self.taken = state["taken"]

    def on_update(self, version: int) -> None:
        self.updates = version


def toy_rows(count: int = 37, seed: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(random.integers(3, 13))
        ids_T = random.integers(0, VOCABULARY, length).astype(np.int32)
        weight_T = random.choice([0.0, 0.5, 1.0], length).astype(np.float32)
        weight_T[0], weight_T[-1] = 0.0, 1.0
        rows.append((ids_T, weight_T))
    return rows


def toy_source(**changes: int) -> ToySource:
    return ToySource(toy_rows(), **changes)


def save_toy(folder: Path, masters: Mapping[str, Tensor]) -> None:
    save_file(dict(masters), folder / "model.safetensors")


def toy_checkpoints(folder: Path, **changes: object) -> Checkpoints:
    values: dict[str, object] = {"save_model": save_toy, "identity": {"rows": "37 toys", "rank": 8}}
    return Checkpoints(folder=folder, **{**values, **changes})  # type: ignore[arg-type]


def toy_plan(**changes: object) -> FitPlan:
    values: dict[str, object] = {
        "max_steps": 40,
        "learning_rate": 3e-3,
        "weight_decay": 0.1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 4,
        "save_steps": 1,
        "logging_steps": 7,
    }
    return FitPlan(**{**values, **changes})  # type: ignore[arg-type]


class Ears(Quiet):
    """Hears what a run tells: its steps, the lines of its log, and what was noticed."""

    def __init__(self) -> None:
        self.steps: list[Progress] = []
        self.lines: list[Progress] = []
        self.found: list[Finding] = []

    def stepped(self, progress: Progress) -> None:
        self.steps.append(progress)

    def logged(self, progress: Progress) -> None:
        self.lines.append(progress)

    def noticed(self, finding: Finding) -> None:
        self.found.append(finding)
