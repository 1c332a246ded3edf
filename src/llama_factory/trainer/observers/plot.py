"""`training_loss.png`: the training loss, raw and smoothed, and the validation loss, over the steps.

In: the log that `JsonLines` writes, read at the end, so that a resumed run has its whole curve. Out: one PNG.
It draws on a canvas of its own and touches neither pyplot nor a display.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
    """m_t = sum_i K(i - t) x_i / sum_i K(i - t), K a Gaussian (Nadaraya 1964, Watson 1964).

    It looks to both sides, so it does not lag behind a falling loss as a running mean does and can be held
    against the validation loss. Its deviation is a fortieth of the run, at least one point.
    """
    deviation = max(1.0, len(values) / 40)
    reach = min(math.ceil(3 * deviation), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    inside = slice(reach, reach + len(values))
    total = np.convolve(values, kernel)[inside]
    weight = np.convolve(np.ones(len(values)), kernel)[inside]
    shown: list[float] = (total / weight).tolist()
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
    axes.set_ylabel("loss", fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
