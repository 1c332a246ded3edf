"""The page that says which known pains `check` catches, held to what it does."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors.letters import LETTERS
from llama_factory.recipes.check import check

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "check.md"
GOOD = [{"prompt": f"What is {i} plus {i}?", "response": f"It is {2 * i}, of course."} for i in range(8)]
LONG = {"prompt": "Tell me all.", "response": "This and that and more. " * 60}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}

ENDINGS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str, int]] = {
    "1": (GOOD, {"template": "llama3"}, "render.template-mismatch", 2),
    "2": (GOOD, {"dataset": "identty"}, "data.", 2),
    "3": ([*GOOD, LONG], {"cutoff_len": 128}, "data.too-many-long", 3),
    "4": ([{"messages": [{"role": "user", "content": "Hello?"}]}], {}, "data.", 3),
    "11": ([{"messages": [{"role": "user", "content": "Call it."}, CALL]}], {}, "render.no-form-for-tools", 3),
    "12": ([{"prompt": "Who?", "chosen": "I.", "rejected": "You."}], {}, "data.", 3),
    "26": (GOOD, {"output_dir": "/dev/null/out"}, "storage.", 4),
    "27": (GOOD, {"lora_target": "q_prj"}, "model.no-such-target", 2),
    "37": (GOOD, {"learning_rat": 1e-4}, "config.", 2),
}
"""By the number of the pain: what ends the check. The others have planted findings in `test_check.py`."""


@pytest.mark.parametrize("number", ENDINGS)
def test_a_pain_that_the_page_calls_caught_ends_the_check(number: str, tiny_model: Path, tmp_path: Path) -> None:
    rows, changes, id, code = ENDINGS[number]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"model_name_or_path": str(tiny_model), "dataset": str(file), "output_dir": str(tmp_path / "out")} | changes
    report = check(lambda: from_mapping(given, "test"), cache=tmp_path / "cache")
    assert [one.id for one in report.findings if one.severity == "error" and one.id.startswith(id)], report.findings
    assert report.exit_code == code


def table(heading: str) -> list[str]:
    """The first cells of the table under a heading of the page."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| ([^|]+) \|", part, re.MULTILINE)[1:]


def listed() -> list[str]:
    """Every finding that the page lists, of both tables."""
    cells = table("Found without weights") + table("Found by one step")
    return [id for cell in cells for id in re.findall(r"`([a-z]+\.[a-z-]+)`", cell)]


def marks(module: ModuleType) -> Iterator[pytest.Mark]:
    """Of all tests of a module, and of the values that they are run with."""
    for name, test in vars(module).items():
        for mark in getattr(test, "pytestmark", []) if name.startswith("test_") else []:
            yield mark
            for value in mark.args[1] if mark.name == "parametrize" else []:
                yield from getattr(value, "marks", ())


def test_every_finding_that_the_page_lists_has_a_planted_case_and_every_planted_one_is_listed() -> None:
    modules = [importlib.import_module(path.stem) for path in sorted(HERE.glob("test_*.py"))]
    planted = {id for module in modules for mark in marks(module) if mark.name == "plants" for id in mark.args}
    ids = listed()
    assert len(ids) == len(set(ids)) > 40
    assert set(ids) == planted
    assert planted <= set(LETTERS)


def test_what_the_rooms_audits_can_find_is_listed() -> None:
    """Every id that stands as a word in an audit is on the page, but for those that say why a row is refused."""
    rooms = Path(recipes.__file__).parents[1]
    audits = [*rooms.glob("*/audit.py"), rooms / "recipes" / "trial.py"]
    words = {
        node.value
        for file in audits
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in LETTERS
    }
    assert len(audits) == 5
    assert len(words) > 20
    assert words <= set(listed())


def test_the_page_counts_its_rows_and_names_findings_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 41))
    counted = Counter(said.split(":")[0].strip() for _, said in rows)
    kinds = ("caught", "caught in part", "caught in part by a step", "by design", "not seen", "not built")
    assert set(counted) == set(kinds)
    for kind in kinds:
        assert f"| {kind} | {counted[kind]} |" in text
    assert f"catches {sum(counted[kind] for kind in kinds[:3])} of them" in text
    assert set(ENDINGS) <= {number for number, said in rows if said.startswith("caught")}
    named = set(re.findall(r"`((?:config|data|render|model|machine|storage|trainer)\.[a-z-]+)`", text))
    assert named <= set(LETTERS)
