"""What a loop tells its observers, made up: a run of 30 steps, 10 an epoch."""

from __future__ import annotations

from pathlib import Path

from llama_factory.records import Finding
from llama_factory.trainer import Evaluation, Observer, Progress, Start


def progress(step: int, *, total: int = 30, loss: float = 2.0) -> Progress:
    return Progress(
        step=step,
        total_steps=total,
        epoch=step / 10,
        loss=loss,
        learning_rate=4.5e-5,
        grad_norm=1.25,
        tokens_per_second=2341.4,
        elapsed_s=12.0,
        remaining_s=83.0,
    )


def evaluation(step: int, loss: float = 1.5) -> Evaluation:
    return Evaluation(step, 30, step / 10, {"eval_loss": loss}, 12.0, 83.0)


def start(first_step: int = 0) -> Start:
    return Start(first_step, 30, 10, 1234567, None)


def tell(observer: Observer, *, first_step: int = 0) -> None:
    """A run of 30 steps, logged every 10, evaluated at 20, saved at 30."""
    observer.started(start(first_step))
    for step in range(first_step + 1, 31):
        observer.stepped(progress(step))
        if step % 10 == 0:
            observer.logged(progress(step, loss=3.0 - step / 20))
        if step == 20:
            observer.evaluated(evaluation(step))
    observer.saved(30, Path("out/checkpoint-30"))
    observer.noticed(Finding("trainer.no-checkpoint-yet", "note", "out"))
    observer.ended()
