"""What of a row is learned, and which rows make a step: the mixture, the order, the packs.

What it deliberately does not do: count rows. Whether a data set is large enough is found out in `data`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.sections.training import SEED_MAX
from llama_factory.config.values import Choice, Flag, Numbers, Whole

Strategy = Literal["concat", "interleave_under", "interleave_over", "interleave_once"]


class Learning(Section):
    title = ("what of a row is learned", "一行中学习哪些部分")

    train_on_prompt: Annotated[bool, Flag()] = key(
        False,
        en="Learn the system text, the user's turns and the template's marks too, not only the answers. A turn with "
        "a weight of its own keeps it.",
        zh="除回答外，也学习系统提示、用户轮次与模板标记。自带权重的轮次保持其权重。",
    )
    mask_history: Annotated[bool, Flag()] = key(
        False,
        en="Of every row learn only the last answer; earlier ones are only read. Not together with train_on_prompt.",
        zh="每行只学习最后一个回答，之前的回答只读不学。不可与 train_on_prompt 同用。",
    )


class Mixing(Section):
    title = ("mixture, order and packs", "混合、顺序与打包")

    mix_strategy: Annotated[
        Strategy,
        Choice(
            ("concat", "interleave_under", "interleave_over", "interleave_once"),
            also={
                "first_exhausted": "interleave_under",
                "all_exhausted": "interleave_over",
                "all_exhausted_without_replacement": "interleave_once",
            },
        ),
    ] = key(
        "concat",
        en="How several data sets make one epoch: one after the other (concat), or in turn until the first is used up "
        "(interleave_under), until all are, the small ones repeated (interleave_over), or every row once "
        "(interleave_once).",
        zh="多个数据集如何组成一轮：依次拼接（concat）；轮流取行，直到最先用完的一个（interleave_under）、直到全部用完且"
        "较小的重复使用（interleave_over），或每行恰好一次（interleave_once）。",
    )
    interleave_probs: Annotated[tuple[float, ...], Numbers(above=0, at_most=1)] = key(
        (),
        en="With mix_strategy: interleave_...: the share of each data set, in the order of dataset; they add up to 1. "
        "Nothing given: strictly in turn.",
        zh="mix_strategy 为 interleave_... 时各数据集的比例，顺序同 dataset，总和为 1；不填则严格轮流。",
        unit="shares",
    )
    packing: Annotated[bool | None, Flag()] = key(
        None,
        en="Count packs instead of rows: per_device_train_batch_size packs, each filled with whole rows up to "
        "cutoff_len tokens. Rows of a pack never see each other. Nothing given: with stage: pt.",
        zh="以“包”代替行计数：per_device_train_batch_size 个包，每包装入整行至多 cutoff_len 个词元。"
        "同一包中的行互不可见。不填则仅在 stage: pt 时打包。",
    )
    neat_packing: Annotated[bool, Flag()] = key(
        False,
        en="The same as packing: true. Rows of a pack are kept apart with either spelling.",
        zh="等同于 packing: true；两种写法下同一包中的行都互相隔离。",
    )
    streaming: Annotated[bool, Flag()] = key(
        False,
        en="Read, tokenise and shuffle rows piece by piece while training comes to them; nothing is kept for a second "
        "run. Needs max_steps.",
        zh="训练用到时才逐段读取、分词并打乱数据，不为下次运行保留任何结果。需要 max_steps。",
    )
    buffer_size: Annotated[int, Whole(at_least=1)] = key(
        16384,
        en="With streaming: how many records are held and shuffled at a time.",
        zh="streaming 时一次读入并打乱的记录数。",
        unit="records",
    )
    data_seed: Annotated[int | None, Whole(at_least=0, at_most=SEED_MAX)] = key(
        None,
        en="Start of the random numbers that choose rows and their order. Nothing given: seed.",
        zh="决定取哪些行及其顺序的随机数种子；不填则同 seed。",
    )
