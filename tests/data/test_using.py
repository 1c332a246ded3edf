"""Which new tokens the rows hold: none, only in what is read, or in what is learned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llama_factory.data import using


def store_of(*tokens: tuple[int, float]) -> Any:
    ids_T = np.array([id for id, _ in tokens], dtype=np.int32)
    weight_T = np.array([weight for _, weight in tokens], dtype=np.float32)
    return SimpleNamespace(parts=[SimpleNamespace(ids_T=ids_T, weight_T=weight_T)])


@pytest.mark.parametrize("at_once", [1, 2, 1 << 22])
def test_each_token_is_counted_as_what_it_is(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(using, "AT_ONCE", at_once)
    stores = [store_of((5, 1.0), (100, 0.0), (101, 0.0)), store_of((101, 0.5), (7, 1.0), (103, 1.0))]
    found = using.audit(stores, {"<read>": 100, "<learned>": 101, "<nowhere>": 102, "<last>": 103})
    assert [(one.id, one.severity, one.values["count"], one.values["found"]) for one in found] == [
        ("data.token-unused", "warning", 1, "'<nowhere>'"),
        ("data.token-only-read", "note", 1, "'<read>'"),
    ]


def test_tokens_that_are_all_learned_and_no_tokens_are_no_finding() -> None:
    assert using.audit([store_of((100, 1.0))], {"<a>": 100}) == []
    assert using.audit([store_of((5, 1.0))], {}) == []
