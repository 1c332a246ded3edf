"""What a training run is asked to do, as one frozen value. The recipe writes it from the configuration.

In: numbers. Out: `FitPlan` and the two questions it answers: how many steps, and what is due after one.
Field names are the YAML keys. It reads no file and no configuration object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_factory.trainer.schedule import SCHEDULES, At, warmup_updates

Strategy = Literal["no", "steps", "epoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """What GaLore and APOLLO work on and how. targets: names of layers, `all` for every linear one but the head."""

    targets: tuple[str, ...] = ("all",)
    rank: int = 16
    update_interval: int = 200
    scale: float = 2.0
    proj_type: str = "std"
    proj: str = "random"
    scale_type: str = "channel"
    scale_front: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How BAdam goes through the weights. switch_interval: in steps, -1 never. said: changes of the block are told."""

    start_block: int | None = None
    switch_mode: str = "ascending"
    switch_interval: int = 50
    update_ratio: float = 0.05
    mask_mode: str = "adjacent"
    said: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """optim: a name of `config.optimizers.OPTIMIZERS`; paged: its state may leave the GPU.

    rate_factors: by parameter name, how many times the schedule's rate moves it; 1 where nothing stands.

    `master_dtype` "bfloat16" is `pure_bf16`: no fp32 copy of weights that are trained in bf16.

    keep_best: the result has the weights of the best evaluation (`load_best_model_at_end`), not the last ones.
    early_stopping_patience: None never stops early. skip_bad_batch: so many steps without finite numbers are passed
    over; one more ends the run.
    """

    num_train_epochs: float = 3.0
    max_steps: int = -1
    seed: int = 42
    master_dtype: Literal["float32", "bfloat16"] = "float32"

    optim: str = "adamw"
    optim_args: Mapping[str, Any] = field(default_factory=dict)
    paged: bool = False
    low_rank: LowRank = field(default_factory=LowRank)
    blocks: Blocks = field(default_factory=Blocks)
    learning_rate: float = 5e-5
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    skip_bad_batch: int = 0
    rate_factors: Mapping[str, float] = field(default_factory=dict)

    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: Mapping[str, Any] = field(default_factory=dict)
    warmup_ratio: float = 0.0
    warmup_steps: int = 0

    logging_steps: int = 10
    eval_strategy: Strategy = "no"
    eval_steps: int = 500
    save_strategy: Strategy = "steps"
    save_steps: int = 500

    keep_best: bool = False
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0
    metric_for_best_model: str = "eval_loss"
    greater_is_better: bool = False

    def total_steps(self, steps_per_epoch: int) -> int:
        """`max_steps` when it is given, else the epochs' worth, a broken last epoch rounded up to a step."""
        return self.max_steps if self.max_steps > 0 else math.ceil(self.num_train_epochs * steps_per_epoch)

    def rate(self, done: int, total: int) -> float:
        """The learning rate of the next update after `done`, by a schedule that only counts them."""
        warmup = warmup_updates(total, warmup_steps=self.warmup_steps, warmup_ratio=self.warmup_ratio)
        at = At(done, warmup, total, self.lr_scheduler_kwargs, self.learning_rate)
        return self.learning_rate * SCHEDULES[self.lr_scheduler_type](at)


def due(strategy: Strategy, every: int, *, step: int, total: int, steps_per_epoch: int) -> bool:
    """Whether something with this strategy happens after `step`. After the last step it always does."""
    if strategy == "no":
        return False
    period = every if strategy == "steps" else steps_per_epoch
    return step == total or step % period == 0
