"""`check --step`: the hardest step of a run, made, saved, opened again and compared before the run is begun.

Read it from top to bottom: load the weights, attach what is trained, compare the fast path with the plain one, make
one update from the largest micro-batch that the run would build, save, open what was saved, compare. Each is done by
the code that `train` uses; only the source is another, with one step in it.

In: a run in which nothing else was found wrong, with its folders, template and rows. Out: a `Trial` of figures, and
findings. What ends a run ends this the same way: a letter comes up. Deliberately leaves nothing behind, neither in
`output_dir` nor beside it, and plans nothing: it measures this one step on this machine.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from llama_factory import data, machine, storage, trainer
from llama_factory.config import audit
from llama_factory.config.optimizers import OPTIMIZERS
from llama_factory.errors import MachineError, ProofError
from llama_factory.model import adapters, save
from llama_factory.model.policy import Policy
from llama_factory.recipes.foresight import ahead
from llama_factory.recipes.sft import TERM, objective, objective_of
from llama_factory.recipes.wiring import Bench, ModelWriter, bench_of, plan_of, policy_of, source_of
from llama_factory.records import Finding, Step
from llama_factory.trainer import FitPlan, FitResult, Progress
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.update import NO_MEMORY

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.data import Prepared
    from llama_factory.model.locate import Folders
    from llama_factory.render import Renderer

Stage = Literal["load", "step", "reopen"]
Find = Callable[[Finding], None]

FULL = 0.9
"""Of the machine's memory: above it the next longer batch, or another program, ends the run."""

SAME = 1e-3
"""Mean difference of a log-probability between the model in memory and the same one opened from its files, computed
the same way. The weights are compared bit by bit; this is for what they do not say.
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was seen. trained, total: weights. rows, tokens: of the batch. eval_loss: of the largest validation batch.

    peak: most bytes that this process ever held; ram: what the machine has. difference: mean, of a log-probability,
    between the model in memory and the one that was opened again. run_s: all steps at the pace of this one.
    """

    trained: int
    total: int
    rows: int
    tokens: int
    loss: float
    eval_loss: float | None
    grad_norm: float
    load_s: float
    step_s: float
    reopen_s: float
    peak: int
    ram: int
    difference: float
    run_s: float


def trial(
    run: Run, folders: Folders, renderer: Renderer, rows: Prepared, *, find: Find, stage: Callable[[Stage], None]
) -> Trial:
    """`find` hears each finding as it is made, `stage` what is begun."""
    machine.torch_setup()
    bench = bench_of(run, folders, renderer)
    way, _ = ahead(run, folders.base, rows, "en", bench.grown)
    if way is not None and way.setup.checkpointing:
        bench = replace(bench, checkpointing=True)
    for finding in bench.precision.said:
        find(finding)
    with storage.beside(bench.output) as room:
        made = _make(bench, rows, room / bench.output.name, find, stage)
        gc.collect()  # the trained model goes before the next one is loaded
        stage("reopen")
        began = time.monotonic()
        difference = _compare(bench, rows, room / bench.output.name, made)
    reopen_s = made.figures.reopen_s + time.monotonic() - began
    return replace(made.figures, reopen_s=reopen_s, difference=difference)


@dataclass(frozen=True, slots=True)
class _Made:
    """One step, made and saved. masters: the trained values; logprob_S: what the model then said of the sample rows.

    figures: all but the comparison that is still to come. strengths: of the adapters.
    """

    figures: Trial
    masters: Mapping[str, Tensor]
    strengths: Mapping[str, float]
    logprob_S: Tensor


def _make(bench: Bench, rows: Prepared, target: Path, find: Find, stage: Callable[[Stage], None]) -> _Made:
    """Everything up to the files; when this returns, nobody holds the model any more."""
    stage("load")
    began = time.monotonic()
    policy, said = policy_of(bench)
    for finding in said:
        if finding.severity != "note":
            find(finding)
    load_s = time.monotonic() - began
    policy.verify(data.sample_batch(rows.train))
    per_epoch = data.steps_per_epoch(bench.run, rows.units)
    steps = audit.total_steps(bench.run, per_epoch)
    epochs = steps * data.rows_per_step(bench.run) / rows.units if rows.stream else steps / per_epoch
    step = source_of(bench.run, rows, TERM).largest(steps)
    stage("step")
    heard = _Heard(find)
    result, logprob_S = _fit(bench, rows, policy, step, heard)
    began = time.monotonic()
    _save(bench, policy, result, target)
    parameters = list(policy.module.parameters())
    figures = Trial(
        trained=sum(one.numel() for one in parameters if one.requires_grad),
        total=sum(one.numel() for one in parameters),
        rows=step.rows,
        tokens=step.tokens,
        loss=heard.loss,
        eval_loss=result.metrics.get("eval_loss"),
        grad_norm=heard.grad_norm,
        load_s=load_s,
        step_s=step.tokens / heard.tokens_per_second,
        reopen_s=time.monotonic() - began,
        peak=machine.memory().peak,
        ram=machine.describe().ram,
        difference=math.nan,
        run_s=rows.train.tokens * epochs / heard.tokens_per_second,
    )
    if figures.peak > FULL * figures.ram:
        find(Finding("machine.memory-nearly-full", "warning", "", _memory(figures)))
    return _Made(figures, save.as_reopened(policy.module, result.masters), adapters.strengths(policy.module), logprob_S)


def _fit(bench: Bench, rows: Prepared, policy: Policy, step: Step, heard: _Heard) -> tuple[FitResult, Tensor]:
    """One update, and what the updated model says of the sample rows."""
    sample, said = data.sample_batch(rows.train), list[Tensor]()
    missed = _unreached(policy)

    def measure() -> Mapping[str, float]:
        said.append(policy.forward(sample).logprob_S)
        if rows.validation is None:
            return {}
        largest = next(data.evaluation_batches(rows.validation, data.token_budget(bench.run)))
        return trainer.mean_loss(policy, objective, lambda: [largest])()

    count = len(missed)
    try:
        result = trainer.fit(
            policy,
            _Once(step),
            objective_of(bench.run),
            _one_step(plan_of(bench.run, bench.precision, policy)),
            observers=[heard],
            evaluate=measure,
            origin=lambda row: str(rows.train.origin(row)),
        )
    except MachineError as error:
        if error.id != NO_MEMORY:
            raise
        raise _too_large(step, error.values["reason"]) from error
    except (RuntimeError, MemoryError) as error:
        if not machine.is_out_of_memory(error):
            raise
        raise _too_large(step, machine.first_line(error)) from error
    if not said:  # a signal came during the step: the loop finishes the step, and does not begin to measure
        raise KeyboardInterrupt
    if missed:
        values = {"count": len(missed), "total": count, "first": min(missed)}
        heard.noticed(Finding("trainer.not-reached", "warning", "", values))
    return result, said[0]


def _too_large(step: Step, reason: str) -> MachineError:
    return MachineError("machine.no-memory-for-step", rows=step.rows, tokens=step.tokens, reason=reason)


def _one_step(plan: FitPlan) -> FitPlan:
    """The run's own plan for one step at its full learning rate, measured after it and not saved by the loop.

    The step is made once more for each update in which its optimizer rests: the last one moves the weights.
    """
    updates = 1 + OPTIMIZERS[plan.optim].rests
    return replace(
        plan,
        max_steps=updates,
        lr_scheduler_type="constant",
        warmup_ratio=0.0,
        warmup_steps=0,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=updates,
        save_strategy="no",
        keep_best=False,
        early_stopping_patience=None,
    )


def _unreached(policy: Policy) -> set[str]:
    """Names of what is trained; each is taken out when a gradient comes to it."""
    names = set(policy.trainable())
    for name, parameter in policy.trainable().items():
        parameter.register_post_accumulate_grad_hook(partial(_come, names, name))  # type: ignore[no-untyped-call]
    return names


def _come(names: set[str], name: str, parameter: nn.Parameter) -> None:
    names.discard(name)


def _save(bench: Bench, policy: Policy, result: FitResult, target: Path) -> None:
    """The files of the result, written as the run would write them. A full disk is the disk of `output_dir`."""
    writer = ModelWriter(bench)
    writer.module = policy.module
    try:
        storage.write_directory(target, lambda folder: writer(folder, result.masters))
    except MachineError as error:
        raise MachineError(error.id, where=bench.output, **error.values) from error


def _compare(bench: Bench, rows: Prepared, folder: Path, made: _Made) -> float:
    """The mean difference of a log-probability between what was trained and what is opened from the files."""
    policy = _reopened(bench, folder)
    policy.module.eval()
    own, strong = dict(policy.module.named_parameters()), adapters.strengths(policy.module)
    wrong = [name for name, value in made.masters.items() if not _same(own.get(name), value)]
    wrong += [name for name, value in made.strengths.items() if strong.get(name) != value]
    with torch.no_grad():
        logprob_S = policy.forward(data.sample_batch(rows.train)).logprob_S
    difference = float((logprob_S - made.logprob_S).abs().mean())
    if wrong or not difference <= SAME:
        values = {"count": len(wrong), "total": len(made.masters), "difference": difference, "allowed": SAME}
        raise ProofError("model.reopened-differs", where=bench.output, **values)
    return difference


def _reopened(bench: Bench, folder: Path) -> Policy:
    """The result as a run that trains it further opens it: an adapter on a base loaded anew, or the model itself."""
    if bench.run.method.adapts:
        opened = replace(bench, folders=replace(bench.folders, adapters=(*bench.beneath.values(), folder)))
    else:  # which has its new tokens' rows already
        opened = replace(bench, folders=replace(bench.folders, base=folder), grown=None)
    return policy_of(replace(opened, reopens=True))[0]


def _same(own: Tensor | None, master: Tensor) -> bool:
    return own is not None and torch.equal(own.detach(), master.to(own.dtype))


class _Once:
    """A source with one step in it."""

    steps_per_epoch = 1

    def __init__(self, step: Step) -> None:
        self._step = step

    def next_step(self) -> Step:
        return self._step

    def state(self) -> Mapping[str, int]:
        return {}

    def restore(self, state: Mapping[str, int]) -> None:
        """Nothing is ever resumed."""

    def on_update(self, version: int) -> None:
        """Nothing is drawn from the model."""


class _Heard(Quiet):
    """Keeps the figures of the step, and hands on what the loop notices."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self.loss = self.grad_norm = self.tokens_per_second = math.nan

    def stepped(self, progress: Progress) -> None:
        self.loss, self.grad_norm = progress.loss, progress.grad_norm
        self.tokens_per_second = progress.tokens_per_second

    def noticed(self, finding: Finding) -> None:
        self._find(finding)


def _memory(figures: Trial) -> Mapping[str, object]:
    peak, ram = (f"{size / 1e9:.2f} GB" for size in (figures.peak, figures.ram))
    return {"peak": peak, "ram": ram, "share": round(100 * figures.peak / figures.ram), "tokens": figures.tokens}
