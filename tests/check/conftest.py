"""`checked`, and the rule that a test which says what it plants has found it.

`@pytest.mark.plants("data.leak")` marks a planted case. `test_pains` holds the marks against the page `docs/check.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_factory.config import from_mapping
from llama_factory.recipes.check import Report, check

sys.path.insert(0, str(Path(__file__).parent))

from planting import Row, settings

Checked = Callable[..., Report]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "plants(*ids): the findings that `checked` must have reported in this test")


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture(autouse=True)
def what_a_test_plants_was_found(request: pytest.FixtureRequest, reports: list[Report]) -> Iterator[None]:
    yield
    planted = {id for mark in request.node.iter_markers("plants") for id in mark.args}
    assert planted <= {one.id for report in reports for one in report.findings}


@pytest.fixture
def checked(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[Report]) -> Checked:
    """`checked(rows, key=value)`: the report on a run that is fine but for what is given."""
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))

    def run(rows: list[Row] | None = None, *, config_only: bool = False, step: Any = None, **changes: Any) -> Report:
        given = settings(tiny_model, tmp_path, rows) | changes
        given = {key: value for key, value in given.items() if value is not None}
        report = check(
            lambda: from_mapping(given, "test"), cache=tmp_path / "cache", config_only=config_only, step=step
        )
        reports.append(report)
        return report

    return run
