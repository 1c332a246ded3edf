"""The run on screen: on a terminal one live line, in a file one plain line each `logging_steps`.

In: what the loop tells. Out: lines through `say`, or a live line by rich when stdout is a terminal. A file
gets no control characters. It keeps nothing: the figures stand in `trainer_log.jsonl`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.errors import Language, one_line
from llama_factory.machine import Usage
from llama_factory.records import Finding
from llama_factory.trainer.observers.jsonl import clock
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Evaluation, Progress, Start

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.live import Live

REFRESH_S = 0.1
BAR = 12
"""Columns of the progress bar."""

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "start": "{steps} steps, {per_epoch} an epoch; {weights} trained weights",
        "step": "step {step}/{total}",
        "left": "{time} left",
        "saved": "saved {folder}",
    },
    "zh": {
        "start": "共 {steps} 步，每轮 {per_epoch} 步；训练权重 {weights} 个",
        "step": "步 {step}/{total}",
        "left": "剩余 {time}",
        "saved": "已保存 {folder}",
    },
}


class Console(Quiet):
    """say: writes one line. terminal: the screen for the live line; None asks stdout whether it is one."""

    def __init__(
        self, say: Callable[[str], None] = print, language: Language = "en", *, terminal: Terminal | None = None
    ) -> None:
        self._say = say
        self._language: Language = language
        self._words = WORDS[language]
        self._terminal = terminal
        self._live: Live | None = None
        self._refreshed = 0.0
        self._usage: Usage | None = None

    def started(self, start: Start) -> None:
        weights = f"{start.trained_parameters:,}"
        said = self._words["start"].format(steps=start.total_steps, per_epoch=start.steps_per_epoch, weights=weights)
        self._line(said)
        if start.first_step < start.total_steps:
            self._open()

    def stepped(self, progress: Progress) -> None:
        if self._live is None:
            return
        now = time.monotonic()
        is_last = progress.step == progress.total_steps
        width = self._live.console.width
        self._live.update(_live_line(progress, self._fitting(progress, width), width), refresh=False)
        if is_last or now - self._refreshed >= REFRESH_S:
            self._refreshed = now
            self._live.refresh()

    def logged(self, progress: Progress) -> None:
        self._usage = progress.usage
        if self._live is None:
            self._line(self._figures(progress, self._usage))

    def evaluated(self, evaluation: Evaluation) -> None:
        figures = "  ".join(f"{name} {value:.4f}" for name, value in evaluation.metrics.items())
        step = self._words["step"].format(step=evaluation.step, total=evaluation.total_steps)
        self._line(f"{step}  epoch {evaluation.epoch:.2f}  {figures}")

    def saved(self, step: int, folder: Path) -> None:
        self._line(self._words["saved"].format(folder=folder))

    def noticed(self, finding: Finding) -> None:
        self._line(one_line(finding.id, finding.where, finding.values, self._language))

    def ended(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _fitting(self, progress: Progress, width: int) -> str:
        """With the use of the machine at the last log line, where the terminal has room for it."""
        full = self._figures(progress, self._usage)
        return full if len(full) + BAR + 1 <= width else self._figures(progress, None)

    def _figures(self, progress: Progress, usage: Usage | None) -> str:
        figures = [
            self._words["step"].format(step=progress.step, total=progress.total_steps),
            f"epoch {progress.epoch:.2f}",
            f"loss {progress.loss:.4f}",
            *(f"{name} {value:.4f}" for name, value in progress.terms.items()),
            f"learning_rate {progress.learning_rate:.2e}",
            f"grad_norm {progress.grad_norm:.3f}",
            f"{progress.tokens_per_second:,.0f} tokens/s",
            *(_use(usage) if usage else ()),
            self._words["left"].format(time=clock(progress.remaining_s)),
        ]
        return "  ".join(figures)

    def _line(self, text: str) -> None:
        """Above the live line if there is one."""
        if self._live is None:
            self._say(text)
        else:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _open(self) -> None:
        """The live line, where there is a terminal to draw it on."""
        if self._terminal is None and not sys.stdout.isatty():
            return
        from rich.console import Console as Terminal
        from rich.live import Live

        terminal = self._terminal or Terminal()
        if not terminal.is_dumb_terminal:
            self._live = Live(console=terminal, auto_refresh=False)
            self._live.start()


def _use(usage: Usage) -> tuple[str, str]:
    percent = usage.cpu_percent if usage.gpu_percent is None else usage.gpu_percent
    return f"{'cpu' if usage.gpu_percent is None else 'gpu'} {percent:.0f}%", f"{usage.memory_gb:.1f} GB"


def _live_line(progress: Progress, figures: str, width: int) -> RenderableType:
    """The figures behind a bar; where both do not fit, the figures alone, over as many lines as they need."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if len(figures) + BAR + 1 > width:
        return Text(figures)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=progress.total_steps, completed=progress.step, width=BAR), Text(figures))
    return grid
