"""What a run will take, said before its weights are loaded: memory against what is free, and the time.

In: a run, its rows and steps. Out: a `Foreseen`, a line or two on screen, and a letter where the run cannot fit; the
memory of one that fits is made ready while the weights are read. The arithmetic is the `planner` room's; here a run is
put into its words. Nothing heavy is imported but for the speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llama_factory import data, machine
from llama_factory.config import audit as config_audit
from llama_factory.config.writing import line
from llama_factory.errors import InputError, Language, MachineError
from llama_factory.model import load
from llama_factory.model.native.making import MAKING
from llama_factory.model.quantised import checkpoints
from llama_factory.model.vocabulary import Growth
from llama_factory.planner import choice
from llama_factory.planner.choice import Room, Way
from llama_factory.planner.memory import Memory
from llama_factory.planner.setup import HALF, SINGLE, Setup, with_blocks
from llama_factory.planner.shape import read_shape
from llama_factory.planner.speed import Rates, step_seconds
from llama_factory.recipes.outcome import Say, tell
from llama_factory.recipes.setups import new_blocks, setup_of, with_rows
from llama_factory.recipes.sources import largest, source_of
from llama_factory.records import Batch, Finding, Foreseen, ModelShape

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.recipes.wiring import Bench

NEVER_TWICE = ("prefix_tuning",)
"""Methods that keep something where checkpointing drops it."""

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "plan": "Plan: {needed} of memory ({parts}); {free} are free.{time}",
        "time": " About {time} for {steps} steps.",
        "change": "Enough by itself: {keys}.",
        "changes": "Needed together: {keys}.",
        "nothing": "`plan` shows which model would fit.",
        "weights": "weights", "state": "trained values", "activations": "activations", "rest": "the rest",
    },
    "zh": {
        "plan": "规划：约需内存 {needed}（{parts}），可用 {free}。{time}",
        "time": "{steps} 步约需 {time}。",
        "change": "任选其一即可：{keys}。",
        "changes": "需同时采用：{keys}。",
        "nothing": "`plan` 会列出放得下的模型。",
        "weights": "权重", "state": "训练状态", "activations": "激活值", "rest": "其余",
    },
}  # fmt: skip


def foresee(
    bench: Bench, rows: data.Prepared, source: data.StepSource | data.StreamSource, say: Say, language: Language
) -> Foreseen | None:
    """Says the plan. Raises MachineError where the run cannot fit; None where there is no plan for such a model."""
    run = bench.run
    if bench.device != "cpu":
        return None
    try:
        shape, way = largest_way(run, bench.folders.base, source, bench.precision.compute, bench.grown)
    except InputError as error:
        tell(say, [Finding(error.id, "note", error.where, error.values)], language)
        return None
    free, before = machine.free_memory(), machine.memory().current
    seconds, steps = _time(run, shape, rows, way.setup)
    words = WORDS[language]
    time = words["time"].format(time=_spoken(seconds), steps=steps)
    say(words["plan"].format(needed=gb(way.total), parts=parts(way, language), free=gb(free), time=time))
    for finding in judge(run, shape, way, free, language):
        if finding.severity == "error":
            raise MachineError(finding.id, where=finding.where, **finding.values)
        tell(say, [finding], language)
    machine.make_ready(_soon(way.memory))
    return Foreseen(before + way.total, seconds, before=before, checkpointing=way.setup.checkpointing)


def ahead(
    run: Run, base: Path, rows: data.Prepared, language: Language, grown: Growth | None = None
) -> tuple[Way | None, list[Finding]]:
    """The same for `check`: the memory of the run at its largest micro-batch, and what is to be said about it."""
    if machine.describe().gpus:  # which of them is used, and how much of it is free, is torch's to say
        return None, []
    try:
        compute = machine.pick_precision(run.training.bf16, run.training.fp16, run.training.pure_bf16).compute
        shape, way = largest_way(run, base, source_of(run, rows, run.stage), compute, grown)
    except InputError as error:
        return None, [Finding(error.id, "note", error.where, error.values)]
    return way, judge(run, shape, way, machine.free_memory(), language)


def largest_way(
    run: Run,
    base: Path,
    source: data.StepSource | data.StreamSource,
    compute: str,
    grown: Growth | None = None,
) -> tuple[ModelShape, Way]:
    """The shape of the model, and the memory of the run at its largest micro-batch.

    Checkpointing is on where the run says nothing of it and fits only so.
    """
    said, free = load.check_folder(base), machine.free_memory()
    shape = with_rows(with_blocks(read_shape(said, str(base)), new_blocks(run, base)), grown)
    number = SINGLE if compute == "float32" else HALF
    (batch,) = largest(run, source).batches
    lying = checkpoints.read(said, base)
    setup = setup_of(run, shape, *_of_batch(batch), number=number, free=free, lying=lying, grown=grown)
    way = choice.of(shape, setup, Room(memory=free))
    twice = choice.of(shape, replace(setup, checkpointing=True), Room(memory=free))
    return shape, twice if _needs_to(run) and way.total > free >= twice.total else way


def judge(run: Run, shape: ModelShape, way: Way, free: int, language: Language) -> list[Finding]:
    """An error where it cannot fit, unless it shall be tried; a warning where little would be left."""
    values = {"needed": gb(way.total), "free": gb(free)}
    if way.total > free and not run.training.ignore_memory_plan:
        found = choice.changes(
            shape, way.setup, Room(memory=free), cutoff=run.data.cutoff_len, quantises=True
        )  # fmt: skip
        words = WORDS[language]
        keys = ", ".join(f"`{_lines(one.keys)}` ({gb(one.way.total)})" for one in found.each)
        help = words["changes" if found.together else "change"].format(keys=keys) if keys else words["nothing"]
        return [
            Finding("planner.will-not-fit", "error", "", {**values, "parts": parts(way, language), "changes": help})
        ]
    said = list[Finding]()
    if way.setup.checkpointing and not run.training.gradient_checkpointing:
        without = choice.of(shape, replace(way.setup, checkpointing=False), Room(memory=free))
        said.append(Finding("planner.checkpoints", "warning", "", {**values, "without": gb(without.total)}))
    if way.total > (1 - choice.RESERVE) * free:
        said.append(Finding("planner.nearly-full", "warning", "", values))
    return said


def _needs_to(run: Run) -> bool:
    """Whether the plan may switch checkpointing on."""
    return run.training.gradient_checkpointing is None and run.method.finetuning_type not in NEVER_TWICE


def _lines(keys: Mapping[str, object]) -> str:
    return ", ".join(line(key, value) for key, value in keys.items())


def _soon(found: Memory) -> int:
    """Bytes that the first steps will ask for: activations, logits, weights laid out, and beside weights that learn
    their masters, gradients and the optimiser's state.
    """
    learned = found.masters + found.gradients + found.optimiser
    return found.activations + found.logits + found.laid_out + learned


def _of_batch(batch: Batch) -> tuple[tuple[int, ...], float]:
    """The lengths of its rows, and the share of tokens that is learned. What all rows begin with is computed once."""
    lengths = [int(length) for length in batch.lengths_R]
    shortest = min(lengths)
    starts_R1 = batch.offsets[:-1, None]
    alike_T = (batch.ids_T[starts_R1 + np.arange(shortest)] == batch.ids_T[:shortest]).all(axis=0)
    common = shortest - 1 if alike_T.all() else int(alike_T.argmin())
    first, *others = lengths
    return (first, *(length - common for length in others)), float((batch.weight_T != 0).mean())


LARGEST = 2**32
"""Multiplications of a product that is timed, so that timing takes a moment for any model."""


def rates_here(shape: ModelShape, setup: Setup) -> Rates:
    """This machine's speed at the model's own products, when nothing of ours is compiled beside it any more."""
    machine.torch_setup()
    MAKING.wait()
    dtype = "bfloat16" if setup.number == HALF else "float32"

    def rate(rows: int, columns: int) -> float:
        enough = max(64, LARGEST // (rows * shape.hidden))
        return machine.product_rate(rows, shape.hidden, min(columns, enough), dtype)

    products = rate(max(64, min(setup.tokens, 1024)), min(max(shape.intermediate, shape.hidden), 8192))
    head = rate(max(32, min(setup.learned, 256)), min(shape.vocab, 16384))
    return Rates(products, machine.copy_rate(), "here", head)


def _time(run: Run, shape: ModelShape, rows: data.Prepared, setup: Setup) -> tuple[float, int]:
    """Seconds for all steps of the run, and how many there are."""
    usual, steps = typical(run, rows, setup)
    return steps * step_seconds(shape, usual, rates_here(shape, usual)), steps


def typical(run: Run, rows: data.Prepared, setup: Setup) -> tuple[Setup, int]:
    """A step of rows as long as rows are on average, and how many steps there are."""
    store, each = rows.train, data.rows_per_step(run)
    mean = max(1, round(store.tokens / len(store)))
    if data.packs_rows(run):
        each = max(1, round(each * len(store) / max(1, rows.units)))
    at_once = max(1, min(each, data.token_budget(run) // mean))
    usual = replace(
        setup,
        lengths=(mean,) * at_once,
        supervised=float(store.supervised.sum()) / max(1, store.tokens),
        micro_batches=max(1, round(each / at_once)),
    )
    return usual, config_audit.total_steps(run, data.steps_per_epoch(run, rows.units))


def parts(way: Way, language: Language) -> str:
    """The four sums that matter to a person."""
    found, words = way.memory, WORDS[language]
    sums = {
        "weights": found.weights + found.laid_out,
        "state": found.masters + found.gradients + found.optimiser,
        "activations": found.activations,
    }
    sums["rest"] = way.total - sum(sums.values())
    return ", ".join(f"{words[name]} {gb(size)}" for name, size in sums.items())


def gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
