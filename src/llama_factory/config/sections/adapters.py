"""The keys of adapters: small weights that are trained beside a frozen model and kept in files of their own.

What it deliberately does not do: know the model's layers. `lora_target` is checked against them in `model`.
"""

from __future__ import annotations

from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Names, Number, Whole


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
