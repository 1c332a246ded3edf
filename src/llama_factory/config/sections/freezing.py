"""The keys of training some layers of a model and leaving the others as they are.

What it deliberately does not do: know the model's layers. They are counted in `model`.
"""

from __future__ import annotations

from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Flag, Names, Whole


class Freeze(Section):
    title = ("freeze: only some layers learn", "freeze：只训练部分层")

    freeze_trainable_layers: Annotated[int, Whole()] = key(
        2,
        en="How many of the last layers learn; a negative number counts from the first, with 0 only "
        "freeze_extra_modules learn.",
        zh="参与训练的末尾层数；负数则从最前面的层数起，0 表示只训练 freeze_extra_modules。",
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
    use_llama_pro: Annotated[bool, Flag()] = key(
        False,
        en="LLaMA Pro: only blocks that were put between the model's own learn. llama_pro_blocks puts them there; "
        "without it the model has them already, and freeze_trainable_layers says how many.",
        zh="LLaMA Pro：只训练插入到原有层之间的新块。由 llama_pro_blocks 插入；不填则模型已扩展，"
        "由 freeze_trainable_layers 给出块数。",
    )
    llama_pro_blocks: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="With use_llama_pro: how many new blocks, evenly spread; the number of layers must be a multiple of it. The "
        "model says the same as before until they have learned.",
        zh="use_llama_pro 时插入的新块数，均匀分布；层数须为其整数倍。训练前模型输出不变。",
        unit="blocks",
    )
