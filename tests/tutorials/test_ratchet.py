"""The inventory itself: complete, honest about its witnesses, and never worse than it was."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
COUNT = {
    "000_442ef13b1cfb121b": 12,
    "001_9785335056c5fe8e": 2,
    "002_af66abbec3ef34fa": 63,
    "003_fe1e068fb628dd75": 21,
    "004_6743685be7279210": 17,
}


def test_every_snippet_of_the_five_tutorials_is_listed(inventory: Mapping[str, Any]) -> None:
    assert Counter(entry.source for entry in inventory.values()) == COUNT
    assert len(inventory) == 115


def test_every_snippet_stands_in_its_tutorial_as_printed(inventory: Mapping[str, Any]) -> None:
    seeds = HERE.parents[2] / "shared" / "seeds"
    if not seeds.is_dir():
        pytest.skip("no ../shared/seeds beside this checkout")
    pages = {source: (seeds / f"{source}.txt").read_text(encoding="utf-8") for source in COUNT}
    lines = [(entry, line.strip()) for entry in inventory.values() for line in entry.text.splitlines()]
    assert len(lines) > 300
    assert not [(entry.name, line) for entry, line in lines if line not in pages[entry.source]]


def test_every_entry_says_what_it_is_and_who_has_seen_it(inventory: Mapping[str, Any]) -> None:
    for entry in inventory.values():
        assert entry.kind in {"command", "yaml", "json", "python", "dockerfile"}, entry.name
        assert entry.status in {"works", "not yet", "environment"}, entry.name
        assert bool(entry.witness) == (entry.status != "environment"), entry.name
        assert bool(entry.reason) == (entry.status != "works"), entry.name
        assert entry.text.strip(), entry.name
        assert squeezed(entry.meant) in ("", squeezed(entry.text)), entry.name


def squeezed(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def test_every_witness_is_a_test_that_reads_its_entry(inventory: Mapping[str, Any]) -> None:
    """Either it takes each entry in turn, or it names the entry whose text it types."""
    tests: dict[str, ast.FunctionDef] = {}
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                tests[node.name] = node
    for entry in inventory.values():
        if not entry.witness:
            continue
        assert entry.witness in tests, entry.name
        names = {argument.arg for argument in tests[entry.witness].args.args}
        words = {node.value for node in ast.walk(tests[entry.witness]) if isinstance(node, ast.Constant)}
        assert "entry" in names or entry.name in words, entry.name


def test_what_works_once_works_for_good(inventory: Mapping[str, Any]) -> None:
    """`works.txt` holds every entry that ever worked: add to it what begins to work, never take a line away."""
    reached = (HERE / "works.txt").read_text(encoding="utf-8").split()
    works = {entry.name for entry in inventory.values() if entry.status == "works"}
    assert len(reached) == len(set(reached)) >= 41
    assert not set(reached) - works, "these worked before"
    assert not works - set(reached), "these work now: add them to works.txt"
