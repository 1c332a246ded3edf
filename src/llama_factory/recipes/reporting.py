"""The facts of a run, gathered while it runs, and its page written when it ends, however it ends.

In: what a recipe has at hand before step 1, what the loop tells, the result or the error. Out: `report.html` in the
run's folder. Whatever goes wrong here is said in a line and costs nothing else: neither a result nor the first error.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from llama_factory import data, machine, runs, storage
from llama_factory.errors import DivergedError, Interrupted, Language, LlamaFactoryError, letter, one_line
from llama_factory.model import adapters
from llama_factory.recipes import samples
from llama_factory.recipes.outcome import WORDS, Say
from llama_factory.recipes.wiring import HEALTH, LOG, RESOLVED, Bench, commands_of
from llama_factory.records import Finding, Foreseen
from llama_factory.runs import Answered, Ending, Facts
from llama_factory.trainer import FitResult
from llama_factory.trainer.observers import Quiet, diagnosis, jsonl
from llama_factory.trainer.observers.plot import curves, smoothed

if TYPE_CHECKING:
    from torch import nn


class Page(Quiet):
    """A context around the training, and one of those who listen to it."""

    def __init__(
        self, bench: Bench, rows: data.Prepared, checked: Sequence[Finding], say: Say, language: Language
    ) -> None:
        self._bench = bench
        self._rows = rows
        self._checked = (*bench.precision.said, *bench.renderer.notices, *checked, *rows.summary.findings)
        self._say = say
        self._language: Language = language
        self._noticed: list[Finding] = []
        self._asked: list[samples.Asked] = []  # nothing is asked afterwards when asking before has failed
        self._before: list[str] | None = None
        self.foreseen: Foreseen | None = None

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(KeyboardInterrupt):  # whatever happens here, `error` is the one to tell
                if self._safely(lambda: self._write(self._ending_of(error))):
                    self._say(WORDS[self._language]["page"].format(path=self._bench.output / runs.NAME))

    def noticed(self, finding: Finding) -> None:
        self._noticed.append(finding)

    def before(self, module: nn.Module) -> None:
        """The answers that training changes in place. Adapters alone can be switched off, which is done at the end."""
        self._safely(lambda: self._ask_before(module))

    def finished(self, module: nn.Module, result: FitResult) -> None:
        """The page of a run that came to its end, then again with the answers, which may take a while.

        A run that had nothing left to do keeps the page that it has.
        """
        if self.foreseen is not None:
            peak = machine.memory().peak
            self.foreseen = replace(self.foreseen, measured_memory=peak, measured_s=result.elapsed_s)
        if result.step == result.first_step and (self._bench.output / runs.NAME).is_file():
            return
        ending = Ending("early" if result.stopped_early else "finished")
        if not self._safely(lambda: self._write(ending)) or not self._asked:
            return
        answered: list[Answered] = []
        self._say(WORDS[self._language]["answering"].format(count=len(self._asked)))
        with suppress(KeyboardInterrupt):  # the result is whole: only the wait for the answers is over
            self._safely(lambda: answered.extend(self._answered(module, result)))
        if answered:
            self._safely(lambda: self._write(ending, answered, self._step_shown(result)))

    def _is_switched(self) -> bool:
        """Whether the model before training is the trained one without its adapters."""
        return self._bench.run.method.adapts and not self._bench.folders.adapters

    def _ask_before(self, module: nn.Module) -> None:
        count = self._bench.run.logging.report_samples
        asked = samples.choose(self._rows, self._bench.renderer, count) if count else []
        if asked and not self._is_switched():
            self._before = samples.answer(module, self._bench.renderer, asked)
        self._asked = asked

    def _step_shown(self, result: FitResult) -> int:
        """Whose weights answer: those of the result, where the best ones can be put back into the module."""
        adapted = self._bench.run.method.adapts
        return result.step if result.best_step is None or not adapted else result.best_step

    def _answered(self, module: nn.Module, result: FitResult) -> list[Answered]:
        renderer = self._bench.renderer
        if self._step_shown(result) != result.step:
            adapters.put_back(module, self._bench.output)
        before = self._before
        if before is None:
            with adapters.switched_off(module):
                before = samples.answer(module, renderer, self._asked)
        after = samples.answer(module, renderer, self._asked)
        return [
            Answered(one.origin, one.prompt, one.reference, then, now)
            for one, then, now in zip(self._asked, before, after, strict=True)
        ]

    def _ending_of(self, error: BaseException) -> Ending:
        output = self._bench.output
        words = ["llamafactory-cli", "train", str(output / RESOLVED), "resume_from_checkpoint=true"]
        command = shlex.join(words) if storage.newest_whole(output) else ""
        if isinstance(error, DivergedError):
            return Ending("diverged", error.letter(self._language))
        if isinstance(error, Interrupted):
            return Ending("interrupted", error.letter(self._language), command)
        if isinstance(error, LlamaFactoryError):
            return Ending("failed", error.letter(self._language), command)
        if isinstance(error, KeyboardInterrupt):
            return Ending("interrupted", "", command)
        reason = machine.first_line(error)
        if machine.is_out_of_memory(error):
            return Ending("failed", letter("apps.out-of-memory", "", {"reason": reason}, self._language), command)
        return Ending("failed", f"{type(error).__name__}: {reason}", command)

    def _write(self, ending: Ending, answered: Sequence[Answered] = (), after_step: int | None = None) -> None:
        output = self._bench.output
        facts = self._facts(ending, answered, after_step)
        storage.write_file(output / runs.NAME, runs.page(facts).encode("utf-8", "replace"))

    def _facts(self, ending: Ending, answered: Sequence[Answered], after_step: int | None) -> Facts:
        bench, rows = self._bench, self._rows
        run, log = bench.run, bench.output / LOG
        training = curves(log)[0] if log.is_file() else []
        done = ending.kind in ("finished", "early")
        commands = commands_of(bench) if done else {}
        smooth = smoothed([loss for _, loss in training]) if training else []
        return Facts(
            language=self._language,
            title=str(bench.output),
            about=f"{run.stage} · {run.method.finetuning_type} · {run.model.model_name_or_path}",
            ending=ending,
            log=jsonl.read(log) if log.is_file() else [],
            smoothed=[(step, value) for (step, _), value in zip(training, smooth, strict=True)],
            lengths=rows.train.lengths,
            cutoff=run.data.cutoff_len,
            data_lines=[line.strip() for one in rows.summary.train for line in data.head_lines(one, self._language)],
            answered=answered,
            after_step=after_step,
            checked=self._checked,
            health=diagnosis.read(bench.output / HEALTH),
            noticed=[one for one in self._noticed if not diagnosis.is_health(one)],
            foreseen=self.foreseen,
            environment=(*machine.environment(), ("device", bench.device), *_formats(bench)),
            configuration=run.resolved_yaml(),
            files=_files(bench.output),
            commands=commands,
        )

    def _safely(self, work: Callable[[], None]) -> bool:
        try:
            work()
            return True
        except Exception as error:  # noqa: BLE001 - a page about a run is worth less than the run
            values: Mapping[str, str] = {"reason": machine.first_line(error)}
            where = str(self._bench.output / runs.NAME)
            self._say(one_line("runs.report-failed", where, values, self._language))
            return False


def _formats(bench: Bench) -> list[tuple[str, str]]:
    return [("computed in", bench.precision.compute), ("trained in", bench.precision.master)]


def _files(folder: Path) -> list[tuple[str, int]]:
    """What lies in the run's folder, folders with all that is in them; what is hidden is nobody's concern."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == runs.NAME:
            continue
        inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        found.append((path.name + ("/" if path.is_dir() else ""), sum(file.stat().st_size for file in inside)))
    return found
