"""Everything that can be known before step 1, gathered from the rooms' audits.

In: a way to read a configuration, the cache folder. Out: a `Report` of findings, figures and three rendered rows.
`audit` and `refuse` are the same for `train`: what would teach nothing is refused before the weights are loaded.
Deliberately no torch (`trial`, which makes one real step when asked to, is loaded for it), no printing, no judgement:
rooms find, this file only puts their findings in one list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llama_factory import data, storage
from llama_factory.config import Run, require
from llama_factory.config import audit as config_audit
from llama_factory.data import audit as data_audit
from llama_factory.data import using
from llama_factory.errors import DataError, InputError, Language, LlamaFactoryError, MachineError, SeveralErrors
from llama_factory.machine.environment import problems as library_problems
from llama_factory.model import audit as model_audit
from llama_factory.model import going_on, load, vocabulary, window
from llama_factory.model.locate import Folders, locate_for
from llama_factory.model.quantised import loading
from llama_factory.model.taught import require_template
from llama_factory.recipes import beforehand, foresight
from llama_factory.records import Finding
from llama_factory.render import Renderer, renderer_for
from llama_factory.render import audit as render_audit
from llama_factory.render.shown import Piece, pieces, tokens

if TYPE_CHECKING:
    from llama_factory.recipes.trial import Stage, Trial

Found = tuple[Run, Folders, Renderer, data.Prepared] | None
"""What a run is made of; None where only its configuration was asked about."""

KINDS: Mapping[str, type[LlamaFactoryError]] = {
    "data": DataError, "render": DataError, "machine": MachineError, "planner": MachineError,
    "storage": MachineError,
}  # fmt: skip
"""Whose an error is, by the room that finds it; any other is the configuration's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row as the model reads it: pieces of text, each with the weight with which it is trained."""

    origin: str
    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class Report:
    """findings: worst first within the order of the rooms. exit_code: 0 when none is an error."""

    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    data_sets: tuple[data.DataSetSummary, ...] = ()
    samples: tuple[Sample, ...] = ()
    exit_code: int = 0
    trial: Trial | None = None


def check(
    read: Callable[[], Run],
    *,
    cache: Path,
    config_only: bool = False,
    step: Callable[[Stage], None] | None = None,
    language: Language = "en",
) -> Report:
    """Never raises what a person can cause: the error that ends the check is its last finding.

    step: given, one real step is made where no error was found; it hears what is begun.
    """
    report = Report()
    try:
        found = _gather(report, read, cache, config_only, language)
        problems = errors_of(report.findings)
        if found and step and not problems:
            from llama_factory.recipes.trial import trial

            report.trial = trial(*found, find=report.findings.append, stage=step)
        elif found:
            run, folders, *_ = found
            report.findings += [one for one in beforehand.chain(run, folders) if one.severity != "error"]
    except LlamaFactoryError as error:
        problems = list(error.errors) if isinstance(error, SeveralErrors) else [error]
        report.findings += [Finding(one.id, "error", one.where, one.values) for one in problems]
    report.exit_code = problems[0].exit_code if problems else 0
    return report


def audit(
    run: Run, folders: Folders, renderer: Renderer, rows: data.Prepared, grown: vocabulary.Growth | None
) -> list[Finding]:
    """What the rows show together with the model and the plan. No weights, seconds at most."""
    train, texts, base = rows.train, run.stage == "pt", folders.base
    per_epoch = data.steps_per_epoch(run, rows.units)
    total = config_audit.total_steps(run, per_epoch)
    lengths_R, largest = _measured(rows)
    longer = window.for_training(run, base, folders.adapters)
    return [
        *config_audit.audit(run),
        *beforehand.audit(run, folders),
        *config_audit.audit_steps(run, rows=len(train), steps_per_epoch=per_epoch),
        *data_audit.audit(rows, everything=texts or run.data.learning.train_on_prompt),
        *([] if texts else render_audit.audit(renderer, train.last_trained(), train.origin)),
        *model_audit.audit(
            base, lengths_R, largest, longer, grown, before=beforehand.learned_tokens(run, folders, renderer)
        ),
        *vocabulary.told(run, grown, folders, renderer),
        *([] if grown is None or rows.stream is not None else using.audit(rows.train, grown.ids)),
        *model_audit.audit_method(run, base),
        *going_on.audit(run, folders),
        *model_audit.audit_disk(
            run, base, Path(str(run.training.output_dir)), total_steps=total, steps_per_epoch=per_epoch, grown=grown
        ),
    ]


def refuse(findings: list[Finding]) -> None:
    """Raise what is an error among them, all at once."""
    problems = errors_of(findings)
    if problems:
        raise problems[0] if len(problems) == 1 else SeveralErrors(problems)


def errors_of(findings: list[Finding]) -> list[LlamaFactoryError]:
    return [
        KINDS.get(one.id.split(".")[0], InputError)(one.id, where=one.where, **one.values)
        for one in findings
        if one.severity == "error"
    ]


def _gather(report: Report, read: Callable[[], Run], cache: Path, config_only: bool, language: Language) -> Found:
    """Fills the report step by step, so that it holds what was found before an error ended it."""
    run = read()
    report.findings += run.notices
    require(run, "train")
    if config_only:
        report.findings += config_audit.audit(run)
        return None
    report.findings += _audit_machine(Path(str(run.training.output_dir)))
    folders = locate_for(run)
    report.findings += loading.ready(run, folders, load.check_folder(folders.base))
    renderer = renderer_for(run, folders.tokenizer or folders.base, to_train=True)
    if run.stage != "pt":
        report.findings += (*renderer.notices, *require_template(run, folders, renderer))
    else:
        report.findings += (one for one in renderer.notices if one.id == "render.token-known")
    report.findings += render_audit.audit_tokenizer(
        renderer.tokenizer, cache=cache, trust_remote_code=run.model.trust_remote_code
    )
    grown = vocabulary.for_training(run, folders, renderer)
    rows = data.prepare(run, renderer, cache=cache, say=_quiet, language=language)
    report.data_sets = rows.summary.train + rows.summary.validation
    report.findings += [note for one in report.data_sets for note in one.account.notes]
    report.samples = _samples(rows.train, renderer)
    report.summary |= _figures(run, rows)
    report.findings += audit(run, folders, renderer, rows, grown)
    way, said = foresight.ahead(run, folders.base, rows, language, grown)
    report.findings += said
    if way is not None:
        report.summary["planned_bytes"] = way.total
    report.summary["checkpoint_bytes"] = model_audit.checkpoint_bytes(run, folders.base, grown)[0]
    return run, folders, renderer, rows


def _audit_machine(output: Path) -> list[Finding]:
    """Libraries that are missing or too old, and a place that cannot be written to: before a row is read."""
    wrong = [*library_problems().values(), storage.refusal(output)]
    return [Finding(one.id, "error", one.where, one.values) for one in wrong if one]


def _figures(run: Run, rows: data.Prepared) -> Mapping[str, Any]:
    per_epoch = data.steps_per_epoch(run, rows.units)
    return {
        "train_rows": len(rows.train),
        "validation_rows": 0 if rows.validation is None else len(rows.validation),
        "tokens": rows.train.tokens,
        "trained_share": float(rows.train.supervised.sum()) / rows.train.tokens,
        "rows_per_step": data.rows_per_step(run),
        "packs": rows.summary.packs,
        "steps_per_epoch": per_epoch,
        "total_steps": config_audit.total_steps(run, per_epoch),
    }


def _samples(store: data.TokenStore, renderer: Renderer) -> tuple[Sample, ...]:
    """The first row, the one of middle length and the longest; fewer where these are the same."""
    by_length = np.argsort(store.lengths, kind="stable")
    chosen = dict.fromkeys((0, int(by_length[len(store) // 2]), int(by_length[-1])))
    rows = [store.row(number) for number in chosen]
    return tuple(Sample(str(row.origin), pieces(tokens(renderer, row))) for row in rows)


def _measured(rows: data.Prepared) -> tuple[Any, int]:
    stores = _stores(rows)
    return np.concatenate([store.lengths for store in stores]), max(store.largest_id() for store in stores)


def _stores(rows: data.Prepared) -> list[data.TokenStore]:
    return [rows.train] if rows.validation is None else [rows.train, rows.validation]


def _quiet(text: str) -> None:
    """What is said while rows are read stands in the report."""
