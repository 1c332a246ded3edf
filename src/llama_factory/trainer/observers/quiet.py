"""An observer that hears everything and does nothing: the base of those that care for some of it."""

from __future__ import annotations

from pathlib import Path

from llama_factory.records import Finding
from llama_factory.trainer.ports import Evaluation, Progress, Start


class Quiet:
    def started(self, start: Start) -> None:
        """Before the first step of this process."""

    def stepped(self, progress: Progress) -> None:
        """After every update."""

    def logged(self, progress: Progress) -> None:
        """Every `logging_steps`."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """After every evaluation."""

    def saved(self, step: int, folder: Path) -> None:
        """After a checkpoint is whole."""

    def noticed(self, finding: Finding) -> None:
        """Something worth a line."""

    def ended(self) -> None:
        """Always last."""
