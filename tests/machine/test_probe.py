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
    assert timed([0, 5, 10, 12, 20, 21, 30, 33, 40, 44], monkeypatch) == (pytest.approx(0.001), probe.TRIES + 1)


def test_no_other_try_is_begun_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timed([0, 99, 200, 290], monkeypatch) == (pytest.approx(0.09), 2 + 1)
    assert timed([0, 3000], monkeypatch) == (3.0, 1 + 1)


def timed(milliseconds: list[int], monkeypatch: pytest.MonkeyPatch) -> tuple[float, int]:
    """The best of tries that begin and end then, and how often the work was done."""
    clock = iter(milliseconds)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock) / 1000)
    calls: list[int] = []
    return probe._best(lambda: calls.append(1)), len(calls)
