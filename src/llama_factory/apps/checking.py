"""`check`: what a run would be, read before it is one.

In: `file.yaml key=value --json --config-only --step` and a screen. Out: figures, three rows, findings and their
cures, or one JSON object; and the exit code. Everything is found in `recipes.check`; here it is only shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llama_factory.apps.rows import as_text, legend
from llama_factory.apps.words import said
from llama_factory.apps.work import read
from llama_factory.errors import InputError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.recipes.check import Report, Sample
    from llama_factory.recipes.trial import Trial
    from llama_factory.records import Finding
    from llama_factory.render.shown import Piece

FLAGS = ("--json", "--config-only", "--config_only", "--step")
SHOWN = 1200
"""Characters of a piece of a row that are shown; the middle of a longer one is left out."""

WORST_FIRST = ("error", "warning", "note")


def check(words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    from llama_factory import storage
    from llama_factory.recipes import check as recipe

    flags = {word.replace("_", "-") for word in words if word in FLAGS}
    rest = [word for word in words if word not in FLAGS]
    if {"--step", "--config-only"} <= flags:
        raise InputError("apps.step-without-data")

    def begun(stage: str) -> None:
        screen.note(said(f"check.{stage}", screen.language))

    report = recipe.check(
        lambda: read("check", rest),
        cache=storage.cache_folder(environ),
        config_only="--config-only" in flags,
        step=begun if "--step" in flags else None,
        language=screen.language,
    )
    if "--json" in flags:
        screen.line(json.dumps(as_json(report, screen), ensure_ascii=False, default=str))
    else:
        show(report, screen)
    return report.exit_code


def as_json(report: Report, screen: Screen) -> dict[str, Any]:
    return {
        "exit_code": report.exit_code,
        "summary": report.summary | {"data_sets": [_data_set(one) for one in report.data_sets]},
        "step": asdict(report.trial) if report.trial else None,
        "findings": [_finding(one, screen) for one in report.findings],
        "samples": [{"where": one.origin, "pieces": [_piece(piece) for piece in one.pieces]} for one in report.samples],
    }


def _piece(one: Piece) -> dict[str, Any]:
    return {"text": one.text, "trained": one.weight != 0, "weight": one.weight}


def _data_set(one: Any) -> dict[str, Any]:
    names = ("tokens", "supervised_share", "length_p50", "length_p95", "length_max")
    account = {name: getattr(one.account, name) for name in ("file", "format", "read", "kept", "bad", "too_long")}
    return {"name": one.name, **account, **{name: getattr(one, name) for name in names}}


def _finding(one: Finding, screen: Screen) -> dict[str, Any]:
    text, _, cure = _letter(one, screen).partition("\n")
    facts = {"id": one.id, "severity": one.severity, "where": one.where, "values": dict(one.values)}
    return {**facts, "reason": text, "cure": cure}


def _letter(one: Finding, screen: Screen) -> str:
    from llama_factory.errors import letter

    return letter(one.id, one.where, one.values, screen.language)


def show(report: Report, screen: Screen) -> None:
    """Figures, then rows, then what is wrong: the last lines are the ones that are read."""
    if report.data_sets:
        from llama_factory.data import head_lines

        for one in report.data_sets:
            for text in head_lines(one, screen.language):
                screen.line(text)
    if "checkpoint_bytes" in report.summary:
        size = f"{report.summary['checkpoint_bytes'] / 1e9:.2f} GB"
        words = "check.steps-packed" if report.summary.get("packs") else "check.steps"
        screen.line(said(words, screen.language, **report.summary, checkpoint=size))
    if "planned_bytes" in report.summary:
        screen.line(said("plan.check", screen.language, size=f"{report.summary['planned_bytes'] / 1e9:.2f} GB"))
    if report.samples:
        screen.line()
        weights = [piece.weight for sample in report.samples for piece in sample.pieces]
        screen.line(screen.bold(said("check.samples", screen.language)) + " " + legend(weights, screen))
    for sample in report.samples:
        _show_row(sample, screen)
    if report.trial:
        _show_trial(report.trial, report.summary["total_steps"], screen)
    screen.line()
    for severity in WORST_FIRST:
        for finding in report.findings:
            if finding.severity == severity:
                _show_finding(finding, screen)
    counts = {f"{name}s": sum(found.severity == name for found in report.findings) for name in WORST_FIRST}
    screen.line(said("check.result", screen.language, **counts))


def _show_trial(trial: Trial, total_steps: int, screen: Screen) -> None:
    values = asdict(trial) | {
        "peak": f"{trial.peak / 1e9:.2f} GB",
        "ram": f"{trial.ram / 1e9:.2f} GB",
        "share": round(100 * trial.peak / trial.ram),
        "duration": _duration(trial.run_s),
        "total_steps": total_steps,
    }
    screen.line()
    screen.line(screen.bold(said("check.trial", screen.language)))
    names = ("batch", "trained", "loss", "time", "memory", "reopened", "whole")
    says = {name: f"check.trial.{name}-is" for name in names}
    if trial.eval_loss is not None:
        says["loss"] = "check.trial.loss-too"
    tell = screen.language
    screen.table([(said(f"check.trial.{name}", tell), said(id, tell, **values)) for name, id in says.items()])


def _duration(seconds: float) -> str:
    """Two figures are as much as an estimate is worth: `45 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60 // 10 * 10:02d} min"


def _show_finding(one: Finding, screen: Screen) -> None:
    text, _, cure = _letter(one, screen).partition("\n")
    head = screen.bold(said(f"check.{one.severity}", screen.language))
    screen.line(f"{head} [{one.id}] {text}")
    screen.paragraph(cure.replace("\n", " "), indent="    ")


def _show_row(sample: Sample, screen: Screen) -> None:
    screen.line(screen.dim(f"--- {sample.origin}"))
    screen.line(as_text(sample.pieces, screen, limit=SHOWN))
