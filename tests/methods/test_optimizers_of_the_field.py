"""Every optimizer trains the real model for some steps; the result is opened by plain transformers and is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from some_steps import Trained, in_plain_transformers

from llama_factory.config.optimizers import OPTIMIZERS

Train = Callable[..., Trained]

pytestmark = [pytest.mark.slow, pytest.mark.real]

FREE = {"lr_scheduler_type": "constant"}
CASES: dict[str, dict[str, Any]] = {
    "adafactor": {"optim": "adafactor"},
    "adagrad": {"optim": "adagrad", "learning_rate": 1e-2},
    "adam_mini": {"use_adam_mini": True},
    "apollo_adamw": {"use_apollo": True, "apollo_rank": 8, "apollo_update_interval": 2},
    "badam_layer": {"use_badam": True, "badam_switch_interval": 2},
    "badam_ratio": {"use_badam": True, "badam_mode": "ratio", "badam_update_ratio": 0.5},
    "galore_adafactor": {"use_galore": True, "optim": "adafactor", "galore_rank": 8},
    "galore_adamw": {"use_galore": True, "galore_rank": 8, "galore_update_interval": 2},
    "lion": {"optim": "lion", "learning_rate": 1e-4},
    "muon": {"use_muon": True},
    "rmsprop": {"optim": "rmsprop", "learning_rate": 1e-5, "optim_args": "momentum=0.5"},
    "schedule_free_adamw": {"optim": "schedule_free_adamw", **FREE},
    "schedule_free_radam": {"optim": "schedule_free_radam", "adam_beta2": 0.9, "max_steps": 8, **FREE},
    "schedule_free_sgd": {"optim": "schedule_free_sgd", "learning_rate": 0.1, **FREE},
    "sgd": {"optim": "sgd", "learning_rate": 0.1},
}


def test_each_optimizer_has_a_case_here_or_with_the_quantisers() -> None:
    others = {kind for kind, facts in OPTIMIZERS.items() if facts.library == "bitsandbytes"}
    assert set(CASES) | others | {"adamw"} == set(OPTIMIZERS)


@pytest.mark.parametrize("keys", CASES.values(), ids=CASES)
def test_it_trains_the_real_model_and_the_result_is_the_same_in_plain_transformers(
    trained: Train, keys: dict[str, Any]
) -> None:
    given = {"max_steps": 4, "learning_rate": 1e-3, "per_device_train_batch_size": 8, "bf16": False}
    done = trained(finetuning_type="freeze", freeze_trainable_layers=2, **{**given, **keys})
    assert done.losses[-1] < done.losses[0]
    torch.testing.assert_close(in_plain_transformers(done), done.logits, rtol=1e-4, atol=1e-3)
