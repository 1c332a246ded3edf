"""What the tests of this folder share: see `some_steps`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from some_steps import ROWS, Trained, train_some


@pytest.fixture
def trained(real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trained]:
    """Train the real model with these keys: `trained(finetuning_type="lora", lora_rank=4)`. `model=` takes another."""
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")

    def run(*, model: Path = real_model, **keys: Any) -> Trained:
        return train_some(monkeypatch, model_name_or_path=str(model), **keys)

    return run
