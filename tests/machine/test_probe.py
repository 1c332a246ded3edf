"""The probe gives speeds that a processor can have, of what was asked for."""

from __future__ import annotations

import pytest

from llama_factory.machine import probe


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_product_has_a_speed_between_a_slow_and_a_very_large_processor(dtype: str) -> None:
    assert 1e8 < probe.product_rate(64, 128, 128, dtype) < 1e15


def test_memory_is_copied_at_a_speed_that_memory_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1e7 < probe.copy_rate() < 1e13


def test_the_best_try_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 10.0, 12.0, 20.0, 21.0, 30.0, 33.0, 40.0, 44.0])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock))
    calls: list[int] = []
    assert probe._best(lambda: calls.append(1)) == 1.0
    assert len(calls) == probe.TRIES + 1
