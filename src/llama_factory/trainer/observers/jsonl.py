"""`trainer_log.jsonl`: one line of JSON for every log line and every evaluation.

In: what the loop tells. Out: a file with the keys that tools for LLaMA-Factory's log read (`current_steps`,
`loss`, `lr`, ...) and a few more: speed, use of the machine. Lines of steps after the one that a run goes on from
are removed, and so is a last line that a crash cut short. `read` gives the lines back, for the plot.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from llama_factory import storage
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Evaluation, Progress, Start

NAME = "trainer_log.jsonl"


class JsonLines(Quiet):
    def __init__(self, path: Path) -> None:
        self._path = path

    def started(self, start: Start) -> None:
        if self._path.exists():
            kept = [line for line in read(self._path) if line["current_steps"] <= start.first_step]
            storage.write_file(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        else:
            self._path.parent.mkdir(parents=True, exist_ok=True)

    def logged(self, progress: Progress) -> None:
        terms = {f"loss_{name}": value for name, value in progress.terms.items()}
        figures = {
            "loss": progress.loss,
            **terms,
            "lr": progress.learning_rate,
            "grad_norm": progress.grad_norm,
            "tokens_per_second": round(progress.tokens_per_second, 1),
            **(progress.usage.figures() if progress.usage else {}),
        }
        self._append(progress, figures)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._append(evaluation, evaluation.metrics)

    def _append(self, told: Progress | Evaluation, figures: Mapping[str, float]) -> None:
        line = {
            "current_steps": told.step,
            "total_steps": told.total_steps,
            # JSON has no word for what is not a finite number.
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
            "epoch": round(told.epoch, 4),
            "percentage": round(100 * told.step / told.total_steps, 2),
            "elapsed_time": clock(told.elapsed_s),
            "remaining_time": clock(told.remaining_s),
        }
        storage.append_line(self._path, json.dumps(line))


def clock(seconds: float) -> str:
    """`0:01:23`."""
    return str(timedelta(seconds=round(seconds)))


def read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; what is not one is passed over."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("current_steps"), int):
            lines.append(line)
    return lines
