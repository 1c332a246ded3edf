"""Helpers of the configuration's tests: write a file, load it, and hold on to what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llama_factory.config import Run, load
from llama_factory.errors import LlamaFactoryError, SeveralErrors

Load = Callable[..., Run]
Refuse = Callable[..., tuple[LlamaFactoryError, ...]]


@pytest.fixture
def given(tmp_path: Path) -> Load:
    """Writes a text into run.yaml (or another name) and loads it with some words."""

    def load_text(text: str, words: Sequence[str] = (), name: str = "run.yaml") -> Run:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load(path, words)

    return load_text


@pytest.fixture
def refused(given: Load, tmp_path: Path) -> Refuse:
    """Loads a text that must be refused, and gives the problems with places as `run.yaml:3`."""

    def problems(text: str, words: Sequence[str] = (), name: str = "run.yaml") -> tuple[LlamaFactoryError, ...]:
        with pytest.raises(LlamaFactoryError) as caught:
            given(text, words, name)
        error = caught.value
        assert error.exit_code == 2
        found = error.errors if isinstance(error, SeveralErrors) else (error,)
        for one in found:
            one.where = one.where.replace(f"{tmp_path}/", "")
            assert one.letter("en") != one.letter("zh")
        return found

    return problems
