"""Rows, settings and models in which nothing is wrong, for tests to plant one fault in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_factory.errors.letters import LETTERS
from llama_factory.recipes.check import Report

Row = Mapping[str, Any]


def good_rows(count: int = 240) -> list[Row]:
    return [{"prompt": f"What is {i} plus {i}?", "response": f"It is {2 * i}, of course."} for i in range(count)]


def settings(model: Path, folder: Path, rows: list[Row] | None = None) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    write(file, good_rows() if rows is None else rows)
    return {
        "model_name_or_path": str(model),
        "dataset": str(file),
        "output_dir": str(folder / "out"),
        "learning_rate": 1e-3,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "save_steps": 100,
    }


def write(file: Path, rows: list[Row]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def copy_of(model: Path, target: Path, name: str = "config.json", **changes: Any) -> str:
    shutil.copytree(model, target)
    said = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps(said | changes))
    return str(target)


def ids(report: Report, *severities: str) -> list[str]:
    return [one.id for one in report.findings if not severities or one.severity in severities]


def require_found(report: Report, id: str, severity: str) -> None:
    """The planted finding is there, as severe as it should be, and its letter can be written."""
    found = {one.id: one for one in report.findings}
    assert id in found, found
    assert found[id].severity == severity
    for text in LETTERS[id]:
        text.format_map(found[id].values)


LONG = {"prompt": "Tell me all.", "response": "This and that and more. " * 60}
