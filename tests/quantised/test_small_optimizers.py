"""The optimizers of bitsandbytes: each learns, goes on from a checkpoint to the bit, and keeps as little as is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llama_factory.config.optimizers import OPTIMIZERS, state_bytes
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.optimizers import Optimizer
from llama_factory.trainer.plan import FitPlan

KINDS = sorted(kind for kind, facts in OPTIMIZERS.items() if facts.library == "bitsandbytes")
RATES = {"lion_8bit": 1e-4, "lion_bnb": 1e-4}


class Run:
    """A regression with one matrix that is large enough for 8 bits and a bias that is not."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(96, 64)
        self.inputs, self.targets = torch.randn(32, 96), torch.randn(32, 64)
        self.masters = Masters(dict(self.module.named_parameters()))
        rate = RATES.get(kind, 1e-3)
        betas = OPTIMIZERS[kind].betas
        self.rate = rate
        plan = FitPlan(optim=kind, learning_rate=rate, weight_decay=0.1, adam_beta1=betas[0], adam_beta2=betas[1])
        self.optimizer = Optimizer(self.masters, self.module, plan)

    def steps(self, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = (self.module(self.inputs) - self.targets).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step(self.rate)
            self.masters.forget_gradients()
            losses.append(loss.item())
        return losses


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_goes_on_from_a_checkpoint_to_the_bit(kind: str) -> None:
    whole, first, second = Run(kind), Run(kind), Run(kind)
    losses = whole.steps(12)
    assert losses[-1] < losses[0]
    first.steps(7)
    state, facts = first.optimizer.state()
    tensors = {name: value.clone() for name, value in state.items()}
    places = [value.untyped_storage().data_ptr() for value in state.values()]
    assert len(set(places)) == len(places)
    facts = json.loads(json.dumps(facts, allow_nan=False))
    second.masters.load({name: value.clone() for name, value in first.masters.tensors().items()})
    second.optimizer.load(tensors, facts)
    second.steps(5)
    for name, value in whole.masters.tensors().items():
        assert torch.equal(value, second.masters.tensors()[name])
    again, _ = second.optimizer.state()
    for name, value in whole.optimizer.state()[0].items():
        assert torch.equal(value, again[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_of_its_memory_is_what_it_keeps(kind: str) -> None:
    run = Run(kind)
    run.steps(2)
    kept = sum(_bytes(value) for key, value in run.optimizer.state()[0].items() if _is_state(key))
    assert kept == pytest.approx(state_bytes(kind, (64, 96)), rel=0.03)


def _is_state(key: str) -> bool:
    """Not the table of 256 values that all parameters share."""
    kind, _, name = key.partition("/")
    return name == "weight" and not kind.startswith("qmap")


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()


@pytest.mark.parametrize("optim", ["adamw_8bit", "lion_8bit"])
def test_it_trains_the_real_model(trained: Callable[..., Any], optim: str) -> None:
    rate = 1e-4 if optim.startswith("lion") else 1e-3
    done = trained(
        finetuning_type="freeze", freeze_trainable_layers=1, optim=optim, learning_rate=rate, max_steps=4, bf16=False,
        per_device_train_batch_size=7,
    )  # fmt: skip
    assert done.losses[-1] < done.losses[0]
