"""Some steps of the real model by any method, as `train` makes them, and the result as other libraries open it.

A number that is not given is small: 3 steps of 2 short rows. One call costs some seconds; what needs no real weights
belongs to `tiny_model`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llama_factory.config import from_mapping
from llama_factory.recipes import sft, train

COLOURS = ("Azure", "Blue", "Cyan", "Green", "Indigo", "Orange", "Red", "Yellow")
ROWS = tuple(
    {"instruction": f"Name a colour that begins with {colour[0]}.", "input": "", "output": f"{colour}, of course."}
    for colour in COLOURS
)
SMALL: dict[str, Any] = {
    "stage": "sft", "dataset": "rows.json", "output_dir": "out", "cutoff_len": 128, "per_device_train_batch_size": 2,
    "max_steps": 3, "learning_rate": 1e-3, "logging_steps": 1, "report_samples": 0, "report_to": "none",
    "save_strategy": "no",
}  # fmt: skip
PROBE = tuple(range(1000, 1024))
"""Tokens whose logits are compared."""


@dataclass(frozen=True)
class Trained:
    """folder: of the result. module: as it was in memory after the last step. base: the model's folder."""

    folder: Path
    module: nn.Module
    base: Path

    @property
    def losses(self) -> list[float]:
        """Of every step, from the run's own log."""
        lines = (self.folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]

    @property
    def logits(self) -> Tensor:
        """Of the model in memory."""
        return logits_of(self.module)


def train_some(monkeypatch: pytest.MonkeyPatch, **keys: Any) -> Trained:
    """Train in this process; `keys` over SMALL."""
    kept: list[nn.Module] = []
    policy_of = sft.policy_of

    def keeping(*args: Any) -> Any:
        policy, said = policy_of(*args)
        kept.append(policy.module)
        return policy, said

    with monkeypatch.context() as patch:
        patch.setattr(sft, "policy_of", keeping)
        outcome = train(from_mapping({**SMALL, **keys}, "this test"), say=lambda line: None)
    return Trained(outcome.folder.absolute(), kept[-1], Path(keys["model_name_or_path"]))


def in_plain_peft(done: Trained) -> Tensor:
    """The logits of the result as peft opens it on the base, with nothing of ours."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(done.base, dtype=_dtype_of(done.module))
    return logits_of(PeftModel.from_pretrained(base, done.folder))


def in_plain_transformers(done: Trained) -> Tensor:
    """The logits of the result as transformers opens it by itself."""
    from transformers import AutoModelForCausalLM

    return logits_of(AutoModelForCausalLM.from_pretrained(done.folder, dtype=_dtype_of(done.module)))


@torch.no_grad()
def logits_of(module: nn.Module) -> Tensor:
    module.eval()
    return module(input_ids=torch.tensor([PROBE])).logits[0].float()


def _dtype_of(module: nn.Module) -> torch.dtype:
    return next(value.dtype for value in module.parameters() if value.is_floating_point())
