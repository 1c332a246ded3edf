"""Nothing heavy is loaded where nothing heavy is needed. Checked in processes of their own, by `sys.modules`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "accelerate", "matplotlib", "tensorboard")


def loaded_by(code: str, folder: Path) -> set[str]:
    """The top-level modules that this code has loaded when it is done."""
    code += "\nimport json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "llama_factory" in modules
    return modules


def test_importing_the_package_loads_nothing_but_the_package(tmp_path: Path) -> None:
    assert not loaded_by("import llama_factory", tmp_path) & {*HEAVY, "numpy", "pydantic", "yaml", "rich"}


@pytest.mark.parametrize(
    "words",
    [
        ["version"],
        ["help"],
        ["help", "train"],
        ["train", "--help"],
        ["explain", "learning_rate"],
        ["list"],
        ["init"],
        ["env"],
        ["plan", "--model", "smollm2-135m", "--memory", "16GB"],
        ["plan", "--model", "qwen2.5-7b", "--gpu", "a100"],
    ],
    ids=" ".join,
)
def test_a_light_command_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    modules = loaded_by(f"from llama_factory.apps.cli import main\nassert main({words!r}) == 0", tmp_path)
    assert not modules & set(HEAVY)


@pytest.mark.parametrize("room", ["records", "errors", "shipped", "storage", "machine", "config", "data", "runs"])
def test_a_light_room_loads_nothing_heavy(room: str, tmp_path: Path) -> None:
    assert not loaded_by(f"import llama_factory.{room}", tmp_path) & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "from pathlib import Path\nfrom llama_factory.config import load\nload(Path('run.yaml'), ['seed=1'])",
        "from llama_factory.apps.cli import main\nassert main(['check', '--config-only', 'run.yaml']) == 0",
    ],
    ids=["in Python", "by the command"],
)
def test_a_configuration_is_checked_without_anything_heavy(code: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "model_name_or_path: somewhere\nstage: sft\ndataset: identity\noutput_dir: out\n"
    )
    assert not loaded_by(code, tmp_path) & set(HEAVY)
