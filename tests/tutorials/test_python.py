"""The Python of the tutorials, line by line as printed, run by an interpreter of its own where a person would."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
Typed = Callable[..., subprocess.CompletedProcess[str]]


def test_the_tuner_is_made_trained_and_asked_as_printed(
    inventory: Mapping[str, Any], typed: Typed, tiny_model: Path, tmp_path: Path
) -> None:
    """The name on the hub is that of a folder here; each call is closed, as it is on the page."""
    shutil.copytree(tiny_model, tmp_path / "meta-llama" / "Llama-2-7b-hf")
    for name in ("train", "eval", "medical_train", "medical_eval"):
        (tmp_path / f"{name}.jsonl").write_text(inventory["000/prompt-response-rows"].text, encoding="utf-8")
    asked = 'print("ANSWER", ascii(tuner.generate("什么是?", max_length=100)))\n'
    script = (
        f"{inventory['000/tuner'].text})\n"
        f"{inventory['000/tuner-train'].text})\n{asked}"
        f'tuner.train(train_data="train.jsonl", output_dir="lora",\n{inventory["000/tuner-train-lora"].text})\n{asked}'
        f"tuner.train(\n{inventory['000/tuner-train-medical'].text})\n{asked}"
    )
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = typed("python script.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("ANSWER '")]) == 3
    assert (tmp_path / "output" / "model.safetensors").is_file()  # ./output, and all weights
    adapter = json.loads((tmp_path / "lora" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter["r"], adapter["lora_alpha"]) == (16, 32)
    (dated,) = (tmp_path / "saves").iterdir()  # no output_dir was given
    assert dated.name.startswith("Llama-2-7b-hf-")
    assert json.loads((dated / "adapter_config.json").read_text(encoding="utf-8"))["r"] == 8
    assert done.stdout.count("eval_loss") >= 4 + 3


def test_check_env_prints_a_tick_on_every_line(inventory: Mapping[str, Any], typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(inventory["004/check-env"].text, encoding="utf-8")
    done = typed("python script.py", tmp_path, environ={"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 10
    assert all(line.startswith("✓ ") for line in lines)
