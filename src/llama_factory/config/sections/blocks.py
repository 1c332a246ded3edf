"""The keys of BAdam: one block of the weights at a time.

What it deliberately does not do: know the model's layers, and how many blocks they make.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Number, Whole


class Badam(Section):
    title = ("badam: one block at a time", "badam：逐块训练")

    use_badam: Annotated[bool, Flag()] = key(
        False,
        en="BAdam (arXiv 2404.02827): AdamW on one block of weights at a time. Embeddings, the last norm and the head "
        "stay as they are. With optim: adamw_torch.",
        zh="使用 BAdam（arXiv 2404.02827）：每次只用 AdamW 训练一块权重。词嵌入、最后的归一化层和输出头保持不变。"
        "optim 为 adamw_torch。",
    )
    badam_mode: Annotated[Literal["layer", "ratio"], Choice(("layer", "ratio"))] = key(
        "layer",
        en="layer = one layer at a time; ratio = a share of every matrix.",
        zh="layer 表示每次一层；ratio 表示每个矩阵的一部分。",
    )
    badam_start_block: Annotated[int | None, Whole(at_least=0)] = key(
        None,
        en="The block to begin with, counted from 0. Nothing given: as badam_switch_mode says.",
        zh="起始块，从 0 数起；不填则由 badam_switch_mode 决定。",
    )
    badam_switch_mode: Annotated[
        Literal["ascending", "descending", "random", "fixed"],
        Choice(("ascending", "descending", "random", "fixed")),
    ] = key(
        "ascending",
        en="Which block comes next. fixed needs badam_start_block.",
        zh="下一块的顺序；fixed 需要 badam_start_block。",
    )
    badam_switch_interval: Annotated[int, Whole(at_least=1, also=(-1,))] = key(
        50,
        en="After how many steps the next block is taken. -1 = never.",
        zh="每隔多少步换块；-1 表示不换。",
        unit="steps",
    )
    badam_update_ratio: Annotated[float, Number(above=0, at_most=1)] = key(
        0.05,
        en="With badam_mode: ratio: the share of every matrix that is trained at a time.",
        zh="badam_mode: ratio 时，每个矩阵每次训练的比例。",
    )
    badam_mask_mode: Annotated[Literal["adjacent", "scatter"], Choice(("adjacent", "scatter"))] = key(
        "adjacent",
        en="With badam_mode: ratio: numbers that stand together, or at random places.",
        zh="badam_mode: ratio 时，选取相邻的数值或随机位置的数值。",
    )
    badam_verbose: Annotated[int, Whole(at_least=0, at_most=2)] = key(
        0,
        en="From 1 on, every change of the block is told.",
        zh="从 1 起，每次换块都会提示。",
    )
