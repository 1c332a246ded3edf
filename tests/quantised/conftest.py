"""What the tests of this folder need: bitsandbytes and hqq, which the environment of all other tests must not hold.

`make test` runs them by a call of their own, with the folder of `scripts/fetch_quantisers.py` on PYTHONPATH:

    PYTHONPATH=$(python scripts/fetch_quantisers.py --where) python -m pytest tests/quantised

In any other call they are skipped with that reason, and under LLAMA_FACTORY_REQUIRE_MODEL=1 they fail. All of them
count as `slow`: importing the two takes longer than a fast test may. A test imports them, and peft, inside itself:
before the fixture below has loaded them they warn, and a warning is an error here.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
HOW = "PYTHONPATH=$(python scripts/fetch_quantisers.py --where) python -m pytest tests/quantised"

sys.path[:0] = [str(HERE), str(HERE.parent / "methods")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def quantisers() -> None:
    """Both packages can be imported, and are packages: a folder of such a name without `__init__` is not one."""
    found = {name: importlib.util.find_spec(name) for name in ("bitsandbytes", "hqq")}
    missing = [name for name, spec in found.items() if spec is None or spec.origin is None]
    if missing:
        reason = f"{' and '.join(missing)} cannot be imported: run `python scripts/fetch_quantisers.py`, then `{HOW}`"
        if os.environ.get("LLAMA_FACTORY_REQUIRE_MODEL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with warnings.catch_warnings():  # torch's own parts, which hqq loads, warn of each other
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("hqq.core.quantize")


@pytest.fixture
def trained(real_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Train the real model with these keys, as in `tests/methods`, with a row to evaluate on after every step."""
    from some_steps import ROWS, train_some

    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    measured = {"val_size": 1, "eval_strategy": "steps", "eval_steps": 1}

    def run(*, model: Path = real_model, **keys: Any) -> Any:
        return train_some(monkeypatch, model_name_or_path=str(model), **measured, **keys)

    return run


@pytest.fixture(scope="session")
def shallow(real_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model's first 6 layers as a model of their own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("shallow")
    model = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    model.model.layers = model.model.layers[:6]
    model.config.num_hidden_layers = 6
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(real_model).save_pretrained(folder)
    return folder
