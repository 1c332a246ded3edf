"""The keys of optimizers that keep their state in a low rank: GaLore and APOLLO.

What it deliberately does not do: know the model's layers. Targets are looked up where the optimizer is made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Names, Number, Whole


class Galore(Section):
    title = ("galore: gradients in a low rank", "galore：低秩梯度投影")

    use_galore: Annotated[bool, Flag()] = key(
        False,
        en="GaLore (arXiv 2403.03507): the optimizer's state in a low rank, all weights trained. With optim: "
        "adamw_torch or adafactor.",
        zh="使用 GaLore（arXiv 2403.03507）：优化器状态为低秩，所有权重仍参与训练。optim 为 adamw_torch 或 adafactor。",
    )
    galore_target: Annotated[tuple[str, ...], Names()] = key(
        ("all",),
        en="Names of the layers whose matrices are projected. all = every linear layer but the head.",
        zh="投影哪些层的矩阵；all 表示除输出头外的所有线性层。",
    )
    galore_rank: Annotated[int, Whole(at_least=1)] = key(
        16,
        en="Rank of the projection. Smaller than the shorter side of every matrix.",
        zh="投影的秩，须小于每个矩阵较短的一边。",
    )
    galore_update_interval: Annotated[int, Whole(at_least=1)] = key(
        200,
        en="After how many steps the projection is found anew.",
        zh="每隔多少步重新计算投影。",
        unit="steps",
    )
    galore_scale: Annotated[float, Number(above=0)] = key(
        2.0,
        en="How many times the learning rate moves the projected matrices.",
        zh="投影矩阵更新量相对学习率的倍数。",
    )
    galore_proj_type: Annotated[
        Literal["std", "reverse_std", "right", "left", "full"],
        Choice(("std", "reverse_std", "right", "left", "full")),
    ] = key(
        "std",
        en="Which side of a matrix is projected; std = the longer one is kept, full = both are.",
        zh="投影矩阵的哪一边；std 表示保留较长的一边，full 表示两边都投影。",
    )
    galore_layerwise: Annotated[bool, Flag()] = key(
        False,
        en="Updating inside the backward pass. Refused: no gradient could be summed, checked or clipped.",
        zh="在反向传播中逐层更新。不支持：梯度将无法累积、检查和裁剪。",
    )


class Apollo(Section):
    title = ("apollo: learning rates in a low rank", "apollo：低秩学习率缩放")

    use_apollo: Annotated[bool, Flag()] = key(
        False,
        en="APOLLO (arXiv 2412.05270): AdamW's scaling of the gradient estimated in a low rank. With optim: "
        "adamw_torch.",
        zh="使用 APOLLO（arXiv 2412.05270）：在低秩空间估计 AdamW 对梯度的缩放。optim 为 adamw_torch。",
    )
    apollo_target: Annotated[tuple[str, ...], Names()] = key(
        ("all",),
        en="Names of the layers whose matrices are projected. all = every linear layer but the head.",
        zh="投影哪些层的矩阵；all 表示除输出头外的所有线性层。",
    )
    apollo_rank: Annotated[int, Whole(at_least=1)] = key(
        16,
        en="Rank of the projection; 1 is enough with apollo_scale_type: tensor (APOLLO-Mini).",
        zh="投影的秩；apollo_scale_type: tensor（APOLLO-Mini）时 1 即可。",
    )
    apollo_update_interval: Annotated[int, Whole(at_least=1)] = key(
        200,
        en="After how many steps the projection is drawn anew.",
        zh="每隔多少步重新生成投影。",
        unit="steps",
    )
    apollo_scale: Annotated[float, Number(above=0)] = key(
        32.0,
        en="The update of projected matrices is multiplied by the square root of this.",
        zh="投影矩阵的更新量乘以该值的平方根。",
    )
    apollo_proj: Annotated[Literal["random", "svd"], Choice(("random", "svd"))] = key(
        "random",
        en="How the projection is found: random numbers from a fixed start, or the gradient's singular vectors.",
        zh="投影的来源：固定种子的随机数，或梯度的奇异向量。",
    )
    apollo_proj_type: Annotated[Literal["std", "right", "left"], Choice(("std", "right", "left"))] = key(
        "std",
        en="Which side of a matrix is projected; std = the longer one is kept.",
        zh="投影矩阵的哪一边；std 表示保留较长的一边。",
    )
    apollo_scale_type: Annotated[Literal["channel", "tensor"], Choice(("channel", "tensor"))] = key(
        "channel",
        en="One scale for each channel, or one for the whole matrix.",
        zh="按通道缩放，或整个矩阵共用一个缩放。",
    )
    apollo_layerwise: Annotated[bool, Flag()] = key(
        False,
        en="Updating inside the backward pass. Refused: no gradient could be summed, checked or clipped.",
        zh="在反向传播中逐层更新。不支持：梯度将无法累积、检查和裁剪。",
    )
    apollo_scale_front: Annotated[bool, Flag()] = key(
        False,
        en="Scale before the limit on the growth of the update's norm, not after it.",
        zh="在限制更新范数增长之前（而非之后）进行缩放。",
    )
