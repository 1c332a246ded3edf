"""Which new tokens the rows hold: none, only in what is read, or in what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llama_factory.data import TokenStore, using
from llama_factory.data.store import Part
from llama_factory.data.writing import PartWriter
from llama_factory.records import Origin, Rendered

Row = Sequence[tuple[int, float]]


def part_of(folder: Path, *rows: Row) -> Part:
    """Rows of ids with their weights, behind a first token that never has one."""
    folder.mkdir()
    with PartWriter(folder) as writer:
        writer.append([_rendered([(0, 0.0), *row], at) for at, row in enumerate(rows)])
        writer.finish({"file": "f.jsonl"})
    return Part.open(folder)


def _rendered(row: Row, at: int) -> Rendered:
    return Rendered(
        text="",
        ids_T=np.array([id for id, _ in row], dtype=np.int32),
        weight_T=np.array([weight for _, weight in row], dtype=np.float32),
        message_T=np.zeros(len(row), dtype=np.int16),
        origin=Origin("f.jsonl", at),
        media=(),
    )


@pytest.mark.parametrize("at_once", [1, 6, 1 << 20])
def test_each_token_is_counted_as_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_once: int) -> None:
    monkeypatch.setattr("llama_factory.data.store.STRETCH_TOKENS", at_once)
    one = part_of(tmp_path / "one", [(5, 1.0), (100, 0.0)], [(101, 0.0), (6, 1.0)])
    other = part_of(tmp_path / "other", [(101, 0.5), (7, 1.0)], [(103, 1.0)])
    ids = {"<read>": 100, "<learned>": 101, "<nowhere>": 102, "<last>": 103}
    found = using.audit(TokenStore([one, other]), ids)
    assert [(one.id, one.severity, one.values["count"], one.values["found"]) for one in found] == [
        ("data.token-unused", "warning", 1, "'<nowhere>'"),
        ("data.token-only-read", "note", 1, "'<read>'"),
    ]


def test_a_token_that_only_rows_kept_back_for_validation_hold_is_unused(tmp_path: Path) -> None:
    every = TokenStore([part_of(tmp_path / "part", [(100, 1.0)], [(101, 1.0)], [(100, 1.0), (5, 1.0)])])
    assert using.audit(every, {"<a>": 100, "<b>": 101}) == []
    (found,) = using.audit(every.select(np.array([2, 0, 2])), {"<a>": 100, "<b>": 101})
    assert (found.id, found.values["found"]) == ("data.token-unused", "'<b>'")


def test_tokens_that_are_all_learned_and_no_tokens_are_no_finding(tmp_path: Path) -> None:
    store = TokenStore([part_of(tmp_path / "part", [(100, 1.0)])])
    assert using.audit(store, {"<a>": 100}) == []
    assert using.audit(store, {}) == []
