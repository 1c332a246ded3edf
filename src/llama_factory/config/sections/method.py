"""What is learned, and which weights learn it. The keys of each method stand in a file of their own.

What it deliberately does not do: know how a method is carried out. That is the `model` room's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.sections.adapters import Lora
from llama_factory.config.sections.freezing import Freeze
from llama_factory.config.sections.prompts import Prompts
from llama_factory.config.sections.rotations import Oft
from llama_factory.config.values import Choice, Flag

Stage = Literal["sft", "pt"]

PROMPTS = frozenset({"p_tuning", "prompt_tuning", "prefix_tuning"})
"""Methods that learn tokens before every row, and leave every weight of the model as it is."""

ADAPTERS = frozenset({"lora", "oft"}) | PROMPTS
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
        Literal["lora", "freeze", "full", "oft", "p_tuning", "prompt_tuning", "prefix_tuning"],
        Choice(
            ("lora", "freeze", "full", "oft", "p_tuning", "prompt_tuning", "prefix_tuning"),
            also={
                **dict.fromkeys(("p-tuning", "ptuning", "p tuning", "p_tuning_v1"), "p_tuning"),
                **dict.fromkeys(("prompt-tuning", "prompt tuning", "soft_prompt"), "prompt_tuning"),
                **dict.fromkeys(("prefix-tuning", "prefix tuning", "prefix"), "prefix_tuning"),
                **dict.fromkeys(("p-tuning-v2", "p-tuning v2", "p_tuning_v2", "ptuning_v2"), "prefix_tuning"),
            },
        ),
    ] = key(
        "lora",
        en="Which weights learn: lora = small matrices beside them, oft = small rotations before them, freeze = some "
        "layers, full = all, p_tuning, prompt_tuning, prefix_tuning = learned tokens before every row.",
        zh="参与训练的权重：lora 为旁路小矩阵，oft 为层前的小旋转，freeze 为部分层，"
        "full 为全部，p_tuning、prompt_tuning、prefix_tuning 为每行之前的可学习词元。",
        commands=ALL,
        starter={"lora": "lora", "freeze": "freeze", "full": "full"},
    )
    lora: Lora = Lora()
    freeze: Freeze = Freeze()
    oft: Oft = Oft()
    prompts: Prompts = Prompts()

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
        named = {"lora": self.lora, "freeze": self.freeze, "oft": self.oft}
        return {**named, **dict.fromkeys(sorted(PROMPTS), self.prompts)}
