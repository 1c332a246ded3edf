"""The keys of the optimizer: which formula moves the weights, and how far.

What it deliberately does not do: import one. `trainer` does, when a run asks for it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Number

OPTIMIZERS_TO_COME = (
    "adafactor", "adagrad", "adam_mini", "adamw_8bit", "adamw_anyprecision", "adamw_apex_fused", "adamw_bnb_8bit",
    "adamw_hf", "adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_npu_fused", "adamw_torch_xla", "ademamix",
    "ademamix_8bit", "apollo_adamw", "apollo_adamw_layerwise", "galore_adafactor", "galore_adamw",
    "galore_adamw_8bit", "galore_adamw_layerwise", "grokadamw", "lion", "lion_32bit", "lion_8bit", "lomo", "adalomo",
    "muon", "paged_adamw", "paged_adamw_32bit", "paged_adamw_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit",
    "paged_lion_32bit", "paged_lion_8bit", "rmsprop", "schedule_free_adamw", "schedule_free_radam",
    "schedule_free_sgd", "sgd", "stable_adamw",
)  # fmt: skip


class Optimizer(Section):
    title = ("optimizer", "优化器")

    optim: Annotated[
        Literal["adamw_torch", "adamw_torch_fused"],
        Choice(
            ("adamw_torch", "adamw_torch_fused"),
            planned=OPTIMIZERS_TO_COME,
            also={"adamw": "adamw_torch"},
        ),
    ] = key(
        "adamw_torch",
        en="The optimizer. Both names are AdamW on fp32 masters.",
        zh="优化器；两个名称都是在 fp32 主权重上的 AdamW。",
    )
    learning_rate: Annotated[float, Number(above=0, below=1)] = key(
        5e-5,
        en="The highest learning rate of the schedule.",
        zh="学习率计划中的最高学习率。",
        starter={"lora": 1e-4, "freeze": 1e-5, "full": 1e-5},
    )
    weight_decay: Annotated[float, Number(at_least=0)] = key(
        0.0,
        en="How much AdamW pulls weights towards zero, times the learning rate.",
        zh="AdamW 将权重拉向零的强度，乘以学习率。",
    )
    adam_beta1: Annotated[float, Number(at_least=0, below=1)] = key(
        0.9,
        en="How slowly the mean of the gradients forgets.",
        zh="梯度均值的衰减系数。",
    )
    adam_beta2: Annotated[float, Number(at_least=0, below=1)] = key(
        0.999,
        en="How slowly the mean of the squared gradients forgets.",
        zh="梯度平方均值的衰减系数。",
    )
    adam_epsilon: Annotated[float, Number(above=0)] = key(
        1e-8,
        en="What is added to AdamW's denominator.",
        zh="加在 AdamW 分母上的小数。",
    )
    max_grad_norm: Annotated[float, Number(at_least=0)] = key(
        1.0,
        en="A gradient longer than this is scaled down to it. 0 = never.",
        zh="梯度范数超过此值时按比例缩小；0 表示不裁剪。",
    )
