"""`train.log`: the run in lines for people, made to be followed with `tail -f logs/train.log | grep "loss:"`.

In: what the loop tells. Out: `output_dir/train.log`, of which each log point is one line in the form of the tutorial,

    [epoch 1/10] loss: 2.15 1.87 (step 500)

with the loss at the first log point of that epoch (at that point itself: the last one before it) and the loss now.
Evaluations, checkpoints, findings and the end are lines as well. A run that goes on writes in the same file, cut
back to where it goes on. In the working directory a link `logs/train.log` points to the newest run's file.
Figures for programs stand in `trainer_log.jsonl`.
"""

from __future__ import annotations

import math
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from llama_factory import storage
from llama_factory.errors import Language, one_line
from llama_factory.records import Finding
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Evaluation, Progress, Start

LOSS_LINE = re.compile(r"\[epoch (\d+)/\d+\] loss: (\S+) (\S+) \(step (\d+)\)")
STEP = re.compile(r"\(step (\d+)\)$")
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "start": "{steps} steps, {per_epoch} an epoch; {weights} trained weights",
        "saved": "saved {folder} (step {step})",
        "end": "finished: {step} of {total} steps",
        "stopped": "ended at step {step} of {total}",
    },
    "zh": {
        "start": "共 {steps} 步，每轮 {per_epoch} 步；训练权重 {weights} 个",
        "saved": "已保存 {folder} (step {step})",
        "end": "训练完成：共 {total} 步",
        "stopped": "结束于第 {step} 步（共 {total} 步）",
    },
}


class TrainLog(Quiet):
    """link: where the newest run's file is to be found, or None. notice: told what became of that, if it is a word."""

    def __init__(
        self,
        path: Path,
        language: Language = "en",
        *,
        link: Path | None = None,
        notice: Callable[[Finding], None] = lambda finding: None,
    ) -> None:
        self._path = path
        self._language: Language = language
        self._link = link
        self._notice = notice
        self._epochs = self._total = self._step = 0
        self._epoch, self._first, self._last = 0, "", ""

    def started(self, start: Start) -> None:
        self._epochs = max(1, math.ceil(start.total_steps / start.steps_per_epoch))
        self._total, self._step = start.total_steps, start.first_step
        kept = _kept(self._path, start.first_step)
        storage.write_file(self._path, "".join(f"{line}\n" for line in kept))
        self._remember(kept)
        weights = f"{start.trained_parameters:,}"
        self._say("start", steps=start.total_steps, per_epoch=start.steps_per_epoch, weights=weights)
        taken = point(self._link, self._path) if self._link else None
        if taken is not None:
            self._notice(taken)

    def stepped(self, progress: Progress) -> None:
        self._step = progress.step

    def logged(self, progress: Progress) -> None:
        now, epoch = _short(progress.loss), self._number(progress.epoch)
        before = self._first if epoch == self._epoch else self._last or now
        self._write(f"{self._head(progress.epoch)} loss: {before} {now} (step {progress.step})")
        if epoch != self._epoch:
            self._epoch, self._first = epoch, now
        self._last = now

    def evaluated(self, evaluation: Evaluation) -> None:
        figures = "  ".join(f"{name}: {_short(value, 4)}" for name, value in evaluation.metrics.items())
        self._write(f"{self._head(evaluation.epoch)} {figures} (step {evaluation.step})")

    def saved(self, step: int, folder: Path) -> None:
        self._say("saved", folder=folder, step=step)

    def noticed(self, finding: Finding) -> None:
        self._write(one_line(finding.id, finding.where, finding.values, self._language))

    def ended(self) -> None:
        if self._total:
            self._say("end" if self._step >= self._total else "stopped", step=self._step, total=self._total)

    def _head(self, epoch: float) -> str:
        return f"[epoch {self._number(epoch)}/{self._epochs}]"

    def _number(self, epoch: float) -> int:
        """The epoch that a step belongs to, from 1; the last one of an epoch still belongs to it."""
        return max(1, math.ceil(epoch - 1e-9))

    def _remember(self, kept: list[str]) -> None:
        """What the next line is compared with, from the lines of the run that goes on."""
        for line in kept:
            if found := LOSS_LINE.fullmatch(line):
                epoch, now = int(found[1]), found[3]
                if epoch != self._epoch:
                    self._epoch, self._first = epoch, now
                self._last = now

    def _say(self, word: str, **values: object) -> None:
        self._write(WORDS[self._language][word].format_map(values))

    def _write(self, text: str) -> None:
        storage.append_line(self._path, text.replace("\n", " "))


def point(link: Path, log: Path) -> Finding | None:
    """Let `link` lead to `log`. What is there and no link is left alone, and named; where nothing can be written: no.

    The link is relative, so that it survives a move of the folder that holds both.
    """
    with suppress(OSError):
        if os.path.lexists(link) and not link.is_symlink():
            return Finding("trainer.log-name-taken", "note", str(link), {"log": log})
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(log.resolve(), link.parent.resolve())
        fresh = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
        os.symlink(target, fresh)
        try:
            os.replace(fresh, link)
        except OSError:
            fresh.unlink()
    return None


def _kept(path: Path, first_step: int) -> list[str]:
    """The lines of a log up to the first one about a later step; none for a run that begins."""
    if first_step == 0 or not path.is_file():
        return []
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = STEP.search(line)
        if found and int(found[1]) > first_step:
            break
        kept.append(line)
    return kept


def _short(value: float, digits: int = 2) -> str:
    """Two places behind the point as in the tutorial; a small number keeps two figures that say something."""
    return f"{value:.{digits}f}" if not abs(value) < 0.1 else f"{value:.{digits}g}"
