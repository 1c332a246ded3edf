"""The keys of the optimizer: which formula moves the weights, and how far.

What it deliberately does not do: import one. `trainer` does, when a run asks for it. What each needs and costs
stands in `config.optimizers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from llama_factory.config.keys import Section, key
from llama_factory.config.optimizers import NAMES, OPTIMIZERS, REFUSED, Facts
from llama_factory.config.pairs import Pairs, Value
from llama_factory.config.sections.blocks import Badam
from llama_factory.config.sections.lowrank import Apollo, Galore
from llama_factory.config.values import Choice, Flag, Names, Number

DEFAULT = "adamw_torch"
PLAIN = frozenset({"adamw_torch", "adamw_torch_fused"})


class Optimizer(Section):
    title = ("optimizer", "优化器")

    optim: Annotated[
        str,
        Choice(tuple(NAMES), refused=REFUSED, also={"adamw": DEFAULT, "adamw_hf": DEFAULT}),
    ] = key(
        DEFAULT,
        en="The optimizer, on fp32 masters. adamw_torch and adamw_torch_fused are one: torch's fused AdamW.",
        zh="优化器，作用于 fp32 主权重。adamw_torch 与 adamw_torch_fused 相同，均为 torch 的融合 AdamW。",
    )
    optim_args: Annotated[str | None, Pairs()] = key(
        None,
        en="Settings of the optimizer that have no key of their own: momentum=0.9, nesterov=true, or a mapping.",
        zh="优化器中没有单独键名的设置：momentum=0.9, nesterov=true，或映射。",
    )
    optim_target_modules: Annotated[tuple[str, ...], Names()] = key(
        (),
        en="Another name for galore_target and apollo_target, for optim: galore_adamw, galore_adafactor, apollo_adamw.",
        zh="optim 为 galore_adamw、galore_adafactor、apollo_adamw 时，galore_target 与 apollo_target 的另一名称。",
    )
    learning_rate: Annotated[float, Number(above=0, below=1)] = key(
        5e-5,
        en="The highest learning rate of the schedule.",
        zh="学习率计划中的最高学习率。",
        starter={"lora": 1e-4, "freeze": 1e-5, "full": 1e-5},
    )
    weight_decay: Annotated[float, Number(at_least=0)] = key(
        0.0,
        en="How much weights are pulled towards zero, times the learning rate.",
        zh="将权重拉向零的强度，乘以学习率。",
    )
    adam_beta1: Annotated[float, Number(at_least=0, below=1)] = key(
        0.9,
        en="How slowly the mean of the gradients forgets.",
        zh="梯度均值的衰减系数。",
    )
    adam_beta2: Annotated[float | None, Number(at_least=0, below=1)] = key(
        None,
        en="How slowly the mean of the squared gradients forgets. Nothing given: 0.999, and 0.99 with Lion.",
        zh="梯度平方均值的衰减系数。不填则为 0.999，Lion 为 0.99。",
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
    use_adam_mini: Annotated[bool, Flag()] = key(
        False,
        en="Adam-mini (arXiv 2406.16793): one second moment a head or neuron instead of one a weight.",
        zh="使用 Adam-mini（arXiv 2406.16793）：每个注意力头或神经元共用一个二阶矩。",
    )
    use_muon: Annotated[bool, Flag()] = key(
        False,
        en="Muon (arXiv 2502.16982): orthogonal updates of the matrices inside the layers, AdamW for all else, at the "
        "same learning rate.",
        zh="使用 Muon（arXiv 2502.16982）：层内矩阵采用正交化更新，其余采用 AdamW，学习率相同。",
    )
    galore: Galore = Galore()
    apollo: Apollo = Apollo()
    badam: Badam = Badam()

    @property
    def switches(self) -> Mapping[str, bool]:
        """The keys that each choose an optimizer by themselves."""
        return {
            "use_galore": self.galore.use_galore,
            "use_apollo": self.apollo.use_apollo,
            "use_badam": self.badam.use_badam,
            "use_adam_mini": self.use_adam_mini,
            "use_muon": self.use_muon,
        }

    @property
    def kind(self) -> str:
        """The one optimizer that `optim` and the switches mean, a name of `config.optimizers.OPTIMIZERS`."""
        if self.galore.use_galore:
            return "galore_adafactor" if self.optim in ("adafactor", "galore_adafactor") else "galore_adamw"
        if self.apollo.use_apollo:
            return "apollo_adamw"
        if self.badam.use_badam:
            return f"badam_{self.badam.badam_mode}"
        if self.use_adam_mini:
            return "adam_mini"
        return "muon" if self.use_muon else NAMES[self.optim]

    @property
    def facts(self) -> Facts:
        return OPTIMIZERS[self.kind]

    @property
    def betas(self) -> tuple[float, float]:
        """How slowly both means forget, the optimizer's own where nothing was given."""
        return (self.adam_beta1, self.facts.betas[1] if self.adam_beta2 is None else self.adam_beta2)

    @property
    def args(self) -> Mapping[str, Value]:
        return Pairs.values_of(self.optim_args)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the layers that GaLore or APOLLO works on."""
        if self.optim_target_modules:
            return self.optim_target_modules
        return self.apollo.apollo_target if self.kind == "apollo_adamw" else self.galore.galore_target

    @property
    def rank(self) -> int:
        """Of the projection that GaLore or APOLLO makes."""
        own = self.apollo.apollo_rank if self.kind == "apollo_adamw" else self.galore.galore_rank
        return int(self.args.get("rank") or own)
