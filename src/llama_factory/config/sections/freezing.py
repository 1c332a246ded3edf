"""The keys of training some layers of a model and leaving the others as they are.

What it deliberately does not do: know the model's layers. They are counted in `model`.
"""

from __future__ import annotations

from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Names, Whole


class Freeze(Section):
    title = ("freeze: only some layers learn", "freeze：只训练部分层")

    freeze_trainable_layers: Annotated[int, Whole()] = key(
        2,
        en="How many of the last layers learn; a negative number counts from the first.",
        zh="参与训练的末尾层数；负数则从最前面的层数起。",
        unit="layers",
        starter={"freeze": 2},
    )
    freeze_trainable_modules: Annotated[tuple[str, ...], Names()] = key(
        ("all",),
        en="Names of the modules that learn inside those layers. all = every one.",
        zh="这些层中参与训练的模块名；all 表示全部。",
        starter={"freeze": "all"},
    )
    freeze_extra_modules: Annotated[tuple[str, ...], Names()] = key(
        (),
        en="Modules outside the layers that learn too, such as norm or lm_head.",
        zh="层外也参与训练的模块，例如 norm、lm_head。",
    )
