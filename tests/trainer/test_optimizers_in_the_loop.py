"""What an optimizer or a schedule asks of the loop: the weights that are used, what is remembered, what is said."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory.errors import MachineError
from llama_factory.model.upstream import without_bitsandbytes
from llama_factory.recipes import moving
from llama_factory.trainer import FitResult, fit
from llama_factory.trainer.plan import LowRank

PLANS: dict[str, dict[str, object]] = {
    "schedule_free_adamw": {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant", "warmup_steps": 0},
    "galore_adamw": {"optim": "galore_adamw", "low_rank": LowRank(rank=2, update_interval=5, targets=("hidden",))},
    "reduce_lr_on_plateau": {
        "lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 1, "factor": 0.5},
    },
}  # fmt: skip


def run(folder: Path, plan: Mapping[str, object], shown: list[dict[str, Tensor]] | None = None) -> FitResult:
    policy = ToyPolicy(dropout=0.2)

    def evaluate() -> dict[str, float]:
        """A loss that goes up and down; keeps what the model was shown with."""
        if shown is not None:
            shown.append({name: value.clone() for name, value in policy.module.state_dict().items()})
        return {"eval_loss": 2.0 + math.sin(float(policy.module.head.weight.sum()) * 50)}

    measured = {"eval_strategy": "steps", "eval_steps": 2, "save_steps": 10, **plan}
    kept = toy_checkpoints(folder)
    return fit(policy, toy_source(), objective, toy_plan(**measured), checkpoints=kept, evaluate=evaluate)


@pytest.mark.parametrize("name", PLANS)
def test_a_run_that_was_broken_off_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    run(tmp_path / "whole", PLANS[name])
    shutil.copytree(tmp_path / "whole" / "checkpoint-20", tmp_path / "half" / "checkpoint-20")
    result = run(tmp_path / "half", PLANS[name])
    assert (result.first_step, result.step) == (20, 40)
    for file in ("model.safetensors", "checkpoint-40/optimizer.safetensors", "checkpoint-40/model.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "half" / file).read_bytes()
    facts = [json.loads((tmp_path / one / "checkpoint-40/trainer_state.json").read_text()) for one in ("whole", "half")]
    assert facts[0]["optimizer"] == facts[1]["optimizer"]
    assert facts[0]["rates"] == facts[1]["rates"]
    assert facts[0]["optimizer"] or facts[0]["rates"]


def test_a_plateau_lowered_the_rate_in_that_run(tmp_path: Path) -> None:
    run(tmp_path, PLANS["reduce_lr_on_plateau"])
    state = json.loads((tmp_path / "checkpoint-40" / "trainer_state.json").read_text())
    assert state["rates"]["lr"] < 3e-3 / 4
    assert state["rates"]["last_epoch"] == 20


def test_what_is_evaluated_saved_and_handed_out_are_the_averaged_weights(tmp_path: Path) -> None:
    shown: list[dict[str, Tensor]] = []
    result = run(tmp_path, PLANS["schedule_free_adamw"], shown)
    saved = load_file(tmp_path / "checkpoint-40" / "model.safetensors")
    trained = load_file(tmp_path / "checkpoint-40" / "optimizer.safetensors")
    published = load_file(tmp_path / "model.safetensors")
    apart = 0
    for name, value in shown[-1].items():
        assert torch.equal(saved[name], value)
        assert torch.equal(published[name], value)
        assert torch.equal(result.masters[name], value)
        apart += not torch.equal(trained[f"master/{name}"], value)
    assert apart == len(shown[-1])


def test_the_packages_of_galore_and_apollo_still_ask_for_bitsandbytes_first() -> None:
    """When this fails, `upstream.without_bitsandbytes` is needed no more."""
    for package in ("galore_torch", "apollo_torch"):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        assert "adamw8bit" in Path(found.origin).read_text(encoding="utf-8")
        assert without_bitsandbytes(package, "adamw").AdamW
    with pytest.raises(ModuleNotFoundError):
        without_bitsandbytes("no_such_package_at_all", "adamw")


def test_pages_are_refused_without_a_gpu_and_the_same_without_pages_is_named() -> None:
    from llama_factory.config import from_mapping

    asked = from_mapping({"optim": "paged_adamw_8bit"}, "here")
    with pytest.raises(MachineError, match="adamw_8bit"):
        moving.require_pages(asked, "cpu")
    moving.require_pages(asked, "cuda:0")
