"""What is learned and which weights learn it.

What it deliberately does not do: know the model's layers. `lora_target` is checked against them in `model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.values import Choice, Flag, Names, Number, Whole

Stage = Literal["sft", "pt"]


class Lora(Section):
    title = ("lora: small matrices beside frozen weights", "lora：在冻结权重旁训练小矩阵")

    lora_rank: Annotated[int, Whole(at_least=1)] = key(
        8,
        en="Rank of the LoRA matrices.",
        zh="LoRA 矩阵的秩。",
        starter={"lora": 8},
    )
    lora_alpha: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="LoRA's update is scaled by lora_alpha / lora_rank. Nothing given: twice the rank.",
        zh="LoRA 更新量按 lora_alpha / lora_rank 缩放；不填则为秩的两倍。",
        starter={"lora": "# 16"},
    )
    lora_dropout: Annotated[float, Number(at_least=0, below=1)] = key(
        0.0,
        en="Share of LoRA's inputs that is dropped at random while training.",
        zh="训练时随机丢弃的 LoRA 输入比例。",
    )
    lora_target: Annotated[tuple[str, ...], Names()] = key(
        ("all",),
        en="Names of the layers that get LoRA matrices. all = every linear layer but the head.",
        zh="加 LoRA 矩阵的层名；all 表示除输出头外的所有线性层。",
        starter={"lora": "all"},
    )

    @property
    def alpha(self) -> int:
        """`lora_alpha`, with its default filled in."""
        return 2 * self.lora_rank if self.lora_alpha is None else self.lora_alpha


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


class Method(Section):
    title = ("method", "方法")

    stage: Annotated[
        Stage,
        Choice(("sft", "pt"), planned=("rm", "ppo", "dpo", "kto", "orpo", "simpo", "grpo", "distill", "classify")),
    ] = key(
        "sft",
        en="What is learned: sft = to answer as the assistant's turns in the data do; pt = to go on as plain texts do.",
        zh="学习的内容：sft 表示学习像数据中的助手那样回答；pt 表示学习像纯文本那样续写。",
        starter="sft",
    )
    do_train: Annotated[bool, Flag()] = key(
        True,
        en="Whether the train command trains.",
        zh="train 命令是否进行训练。",
        starter=True,
    )
    finetuning_type: Annotated[
        Literal["lora", "freeze", "full"], Choice(("lora", "freeze", "full"), planned=("oft", "qlora", "dora"))
    ] = key(
        "lora",
        en="Which weights learn: lora = small matrices beside them, freeze = some layers, full = all.",
        zh="参与训练的权重：lora 为旁路小矩阵，freeze 为部分层，full 为全部。",
        commands=ALL,
        starter={"lora": "lora", "freeze": "freeze", "full": "full"},
    )
    lora: Lora = Lora()
    freeze: Freeze = Freeze()
