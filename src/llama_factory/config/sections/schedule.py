"""The keys of the learning rate's schedule."""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Number, Whole

SCHEDULES_TO_COME = (
    "cosine_with_restarts", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "polynomial", "inverse_sqrt",
    "reduce_lr_on_plateau", "warmup_stable_decay", "greedy",
)  # fmt: skip


class Schedule(Section):
    title = ("learning rate schedule", "学习率计划")

    lr_scheduler_type: Annotated[
        Literal["linear", "cosine", "constant", "constant_with_warmup"],
        Choice(("linear", "cosine", "constant", "constant_with_warmup"), planned=SCHEDULES_TO_COME),
    ] = key(
        "linear",
        en="How the learning rate moves after the warm-up.",
        zh="预热之后学习率的变化方式。",
        starter="cosine",
    )
    warmup_ratio: Annotated[float, Number(at_least=0, at_most=1)] = key(
        0.0,
        en="Share of all steps in which the learning rate rises from 0. Not together with warmup_steps.",
        zh="学习率从 0 上升所占的步数比例。不可与 warmup_steps 同用。",
        unit="share of steps",
        starter=0.1,
    )
    warmup_steps: Annotated[int, Whole(at_least=0)] = key(
        0,
        en="Number of steps in which the learning rate rises from 0. Not together with warmup_ratio.",
        zh="学习率从 0 上升的步数。不可与 warmup_ratio 同用。",
        unit="steps",
    )
