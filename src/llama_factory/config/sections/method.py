"""What is learned, and which weights learn it. The keys of each method stand in a file of their own.

What it deliberately does not do: know how a method is carried out. That is the `model` room's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.sections.adapters import Lora
from llama_factory.config.sections.freezing import Freeze
from llama_factory.config.sections.rotations import Oft
from llama_factory.config.values import Choice, Flag

Stage = Literal["sft", "pt"]

ADAPTERS = frozenset({"lora", "oft"})
"""Methods whose result stands beside the base model, in files of its own."""


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
        Literal["lora", "freeze", "full", "oft"],
        Choice(("lora", "freeze", "full", "oft"), planned=("qlora", "dora")),
    ] = key(
        "lora",
        en="Which weights learn: lora = small matrices beside them, oft = small rotations before them, freeze = some "
        "layers, full = all.",
        zh="参与训练的权重：lora 为旁路小矩阵，oft 为层前的小旋转，freeze 为部分层，full 为全部。",
        commands=ALL,
        starter={"lora": "lora", "freeze": "freeze", "full": "full"},
    )
    lora: Lora = Lora()
    freeze: Freeze = Freeze()
    oft: Oft = Oft()

    @property
    def adapts(self) -> bool:
        """Whether the result is an adapter beside the base model, and not a model of its own."""
        return self.finetuning_type in ADAPTERS

    @property
    def chosen(self) -> Section | None:
        """The keys of the method that was chosen, if it has any."""
        return self.sections.get(self.finetuning_type)

    @property
    def sections(self) -> Mapping[str, Section]:
        """The keys of every method that has any, by `finetuning_type`."""
        return {"lora": self.lora, "freeze": self.freeze, "oft": self.oft}
