"""The keys of the learning rate's schedule. What each schedule takes and needs stands in `config.schedules`."""

from __future__ import annotations

from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.pairs import Pairs
from llama_factory.config.schedules import SCHEDULES, Kwargs, Shape
from llama_factory.config.values import Choice, Number, Whole


class Schedule(Section):
    title = ("learning rate schedule", "学习率计划")

    lr_scheduler_type: Annotated[
        str,
        Choice(tuple(SCHEDULES), also={"reduce_on_plateau": "reduce_lr_on_plateau", "wsd": "warmup_stable_decay"}),
    ] = key(
        "linear",
        en="How the learning rate moves after the warm-up.",
        zh="预热之后学习率的变化方式。",
        starter="cosine",
    )
    lr_scheduler_kwargs: Annotated[str | None, Pairs()] = key(
        None,
        en="Settings of the schedule by the names that transformers gives them: num_cycles=2, or a mapping.",
        zh="学习率计划的设置，名称同 transformers：num_cycles=2，或映射。",
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

    @property
    def shape(self) -> Shape:
        return SCHEDULES[self.lr_scheduler_type]

    @property
    def kwargs(self) -> Kwargs:
        """What was given; names and types are checked by a rule."""
        return Pairs.values_of(self.lr_scheduler_kwargs)
