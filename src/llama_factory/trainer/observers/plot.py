"""`training_loss.png`: the training loss, raw and smoothed, and the validation loss, over the steps.

In: the log that `JsonLines` writes, read at the end, so that a resumed run has its whole curve. Out: one PNG.
It draws on a canvas of its own and touches neither pyplot nor a display.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from llama_factory import storage
from llama_factory.trainer.observers import jsonl
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Start

Points = list[tuple[int, float]]


class LossPlot(Quiet):
    """log: where the figures stand; by default beside the picture."""

    def __init__(self, picture: Path, log: Path | None = None) -> None:
        self._picture = picture
        self._log = log or picture.with_name(jsonl.NAME)
        self._is_running = False

    def started(self, start: Start) -> None:
        self._is_running = True

    def ended(self) -> None:
        if not self._is_running or not self._log.exists():
            return
        training, validation = curves(self._log)
        if training or validation:
            storage.write_file(self._picture, draw(training, validation))


def curves(log: Path) -> tuple[Points, Points]:
    """The training and the validation loss of a log, by step."""
    training: dict[int, float] = {}
    validation: dict[int, float] = {}
    for line in jsonl.read(log):
        for key, curve in (("loss", training), ("eval_loss", validation)):
            if isinstance(line.get(key), int | float):
                curve[line["current_steps"]] = line[key]
    return sorted(training.items()), sorted(validation.items())


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average over about a tenth of the points, without the pull of its start.

    m_t = b m_(t-1) + (1 - b) x_t, shown as m_t / (1 - b^t): Kingma & Ba 2015 (arXiv 1412.6980), section 3.
    """
    span = max(3.0, len(values) / 10)
    b = 1.0 - 2.0 / (span + 1.0)
    shown, mean = [], 0.0
    for t, value in enumerate(values, 1):
        mean = b * mean + (1.0 - b) * value
        shown.append(mean / (1.0 - b**t))
    return shown


def draw(training: Points, validation: Points) -> bytes:
    """The picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if training:
        steps, losses = zip(*training, strict=True)
        axes.plot(steps, losses, color="#1f6fb2", alpha=0.3, linewidth=1.0, label="training")
        axes.plot(steps, smoothed(losses), color="#1f6fb2", linewidth=2.2, label="training, smoothed")
    if validation:
        steps, losses = zip(*validation, strict=True)
        axes.plot(steps, losses, color="#d1600a", linewidth=2.0, marker="o", markersize=5, label="validation")
    axes.set_title("Training and validation loss" if validation else "Training loss", fontsize=14, pad=12)
    axes.set_xlabel("step", fontsize=12)
    axes.set_ylabel("loss (mean over trained tokens)", fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
