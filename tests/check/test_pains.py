"""The page that says which known pains `check` catches, held to what it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llama_factory.config import from_mapping
from llama_factory.errors.letters import LETTERS
from llama_factory.recipes.check import check

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
GOOD = [{"prompt": f"What is {i} plus {i}?", "response": f"It is {2 * i}, of course."} for i in range(8)]
LONG = {"prompt": "Tell me all.", "response": "This and that and more. " * 60}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}

ENDINGS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str, int]] = {
    "1": (GOOD, {"template": "llama3"}, "render.template-mismatch", 2),
    "2": (GOOD, {"dataset": "identty"}, "data.", 2),
    "3": ([*GOOD, LONG], {"cutoff_len": 128}, "data.too-many-long", 3),
    "4": ([{"messages": [{"role": "user", "content": "Hello?"}]}], {}, "data.", 3),
    "11": ([{"messages": [{"role": "user", "content": "Call it."}, CALL]}], {}, "data.tools-not-built", 3),
    "12": ([{"prompt": "Who?", "chosen": "I.", "rejected": "You."}], {}, "data.", 3),
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


def test_the_page_counts_its_rows_and_names_findings_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in table] == list(range(1, 41))
    caught = {number for number, said in table if said.startswith("caught")}
    assert f"catches {len(caught)} of them" in text
    assert set(ENDINGS) <= caught
    named = set(re.findall(r"`((?:config|data|render|model)\.[a-z-]+)`", text))
    assert len(named) >= 20
    assert named <= set(LETTERS)
