"""Lets the tests of this room share `plan_cases`, and the model that they work out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llama_factory.planner.shape import read_shape
from llama_factory.records import ModelShape

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def small() -> ModelShape:
    from plan_cases import SMALL

    return read_shape(SMALL)
