"""`health.jsonl`: one line of JSON for everything that was noticed about a run at a step, for the report.

In: what the loop notices. Out: a file, made when there is something to say. Lines of steps after the one that a run
goes on from are removed: those steps are made again. `read` gives the findings back, those of earlier processes too.
"""

from __future__ import annotations

import json
from pathlib import Path

from llama_factory import storage
from llama_factory.errors import one_line
from llama_factory.records import Finding
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.ports import Start

SKIPPED = "trainer.batch-skipped"


class Diagnosis(Quiet):
    def __init__(self, path: Path) -> None:
        self._path = path

    def started(self, start: Start) -> None:
        if self._path.exists():
            kept = [_line(one) for one in read(self._path) if _is_past(one, start)]
            storage.write_file(self._path, "".join(line + "\n" for line in kept))
            if not kept:
                self._path.unlink()

    def noticed(self, finding: Finding) -> None:
        if is_health(finding):
            storage.append_line(self._path, _line(finding))


def is_health(finding: Finding) -> bool:
    """Whether it is about a step of the run, and no mere note."""
    return finding.severity == "warning" and isinstance(finding.values.get("step"), int)


def read(path: Path) -> list[Finding]:
    """The whole lines of the file, in their order; what is not one, or cannot be told, is passed over."""
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            one = Finding(str(line["id"]), "warning", str(line["where"]), dict(line["values"]))
            one_line(one.id, one.where, one.values)
        except (ValueError, KeyError, TypeError):
            continue
        if is_health(one):
            found.append(one)
    return found


def _is_past(finding: Finding, start: Start) -> bool:
    """Whether it happened before the run goes on. A batch is passed over before its step, which is made afterwards."""
    if finding.id == SKIPPED and finding.values["number"] <= start.skipped:
        return True
    return bool(finding.values["step"] <= start.first_step)


def _line(finding: Finding) -> str:
    """JSON has no word for what is not a finite number: such values are written as text."""
    values = {
        name: value if isinstance(value, int | str) else str(value) for name, value in finding.values.items()
    }  # fmt: skip
    return json.dumps({"id": finding.id, "where": finding.where, "values": values})
