"""The keys of adapters: small weights that are trained beside a frozen model and kept in files of their own.

What it deliberately does not do: know the model's layers. `lora_target` is checked against them in `model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Names, Number, Whole

BIASES = {"false": "none", "true": "lora_only"}
"""What peft's own switch of that name says."""


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
    lora_target: Annotated[tuple[str, ...], Names(patterns=True)] = key(
        ("all",),
        en="Names of the layers that get LoRA matrices, or one regular expression that their whole names match. "
        "all = every linear layer but the head.",
        zh="加 LoRA 矩阵的层名，或一个与完整层名匹配的正则表达式；all 表示除输出头外的所有线性层。",
        starter={"lora": "all"},
    )
    additional_target: Annotated[tuple[str, ...], Names()] = key(
        (),
        en="Names of modules beside LoRA that learn whole and are saved with it: embed_tokens, lm_head, norms ...",
        zh="除 LoRA 外完整训练并一同保存的模块名：embed_tokens、lm_head、归一化层等。",
    )
    lora_bias: Annotated[Literal["none", "lora_only"], Choice(("none", "lora_only"), also=BIASES)] = key(
        "none",
        en="lora_only = the bias of every layer with LoRA matrices learns too; each of them must have one.",
        zh="lora_only 表示带 LoRA 矩阵的层的偏置也参与训练，这些层都必须有偏置。",
    )
    use_rslora: Annotated[bool, Flag()] = key(
        False,
        en="Scale LoRA's update by lora_alpha / sqrt(lora_rank), so that large ranks learn as fast as small ones.",
        zh="LoRA 更新量按 lora_alpha / sqrt(lora_rank) 缩放，使大秩与小秩学得一样快。",
    )
    use_dora: Annotated[bool, Flag()] = key(
        False,
        en="Weights in length and direction: LoRA turns the direction, a number for each output sets the length.",
        zh="将权重分解为长度与方向：LoRA 改变方向，每个输出另有一个数决定长度。",
    )
    loraplus_lr_ratio: Annotated[float | None, Number(above=0)] = key(
        None,
        en="LoRA's second matrix (B) learns at so many times the learning rate (LoRA+).",
        zh="LoRA 第二个矩阵（B）的学习率是基础学习率的倍数（LoRA+）。",
    )
    loraplus_lr_embedding: Annotated[float, Number(above=0, below=1)] = key(
        1e-6,
        en="With loraplus_lr_ratio: the learning rate of LoRA matrices on an embedding.",
        zh="使用 loraplus_lr_ratio 时，嵌入层上 LoRA 矩阵的学习率。",
    )

    pissa_init: Annotated[bool, Flag()] = key(
        False,
        en="Begin with the strongest directions of each weight (PiSSA). The result is an ordinary adapter on the "
        "base as published, of twice the rank.",
        zh="从每个权重的主要方向开始（PiSSA）。结果是原始基座上的普通适配器，秩为两倍。",
    )
    pissa_iter: Annotated[int, Whole(at_least=0, also=(-1,))] = key(
        16,
        en="Rounds of the fast decomposition that pissa_init makes; -1 = the exact one, which is slow.",
        zh="pissa_init 快速分解的迭代次数；-1 表示精确分解，速度较慢。",
    )
    loftq_init: Annotated[bool, Flag()] = key(
        False,
        en="With quantization_bit: begin with the strongest directions of what rounding took from each weight (LoftQ). "
        "The result belongs on the base quantised in the same way.",
        zh="与 quantization_bit 同用：从量化对每个权重造成的误差的主要方向开始（LoftQ）。"
        "结果只适用于以相同方式量化的基座。",
    )
    loftq_iter: Annotated[int, Whole(at_least=1)] = key(
        1,
        en="Rounds of loftq_init. More than 1 is refused: each further round changes the quantised base itself.",
        zh="loftq_init 的轮数。大于 1 时拒绝：之后的每一轮都会改变量化后的基座本身。",
    )
    create_new_adapter: Annotated[bool, Flag()] = key(
        False,
        en="All of adapter_name_or_path stay as they are and a new adapter learns on top; false = the last one learns "
        "on.",
        zh="adapter_name_or_path 中的适配器全部保持不变，在其上训练一个新适配器；false 则继续训练最后一个。",
    )

    @property
    def alpha(self) -> int:
        """`lora_alpha`, with its default filled in."""
        return 2 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
