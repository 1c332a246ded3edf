"""TensorBoard events: `train/loss`, `train/learning_rate`, `train/grad_norm`, `eval/loss` and their like.

In: what the loop tells. Out: an event file in `logging_dir`. A run that goes on from step n tells TensorBoard
to forget what earlier files of the same folder say about later steps; the files themselves are left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Evaluation, Progress, Start

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Quiet):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def started(self, start: Start) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=start.first_step + 1)

    def logged(self, progress: Progress) -> None:
        figures = {
            "loss": progress.loss,
            **{f"loss_{name}": value for name, value in progress.terms.items()},
            "learning_rate": progress.learning_rate,
            "grad_norm": progress.grad_norm,
            "tokens_per_second": progress.tokens_per_second,
            "epoch": progress.epoch,
            **(progress.usage.figures() if progress.usage else {}),
        }
        self._write("train", figures, progress.step)

    def evaluated(self, evaluation: Evaluation) -> None:
        figures = {name.removeprefix("eval_"): value for name, value in evaluation.metrics.items()}
        self._write("eval", figures, evaluation.step)

    def ended(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, group: str, figures: dict[str, float], step: int) -> None:
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
            self._writer.flush()
