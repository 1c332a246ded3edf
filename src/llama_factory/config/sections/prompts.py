"""The keys of learned prompts: P-tuning, prompt tuning and prefix tuning.

What it deliberately does not do: know the model's width or its tokenizer. Those are asked in `model`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Text, Whole


class Prompts(Section):
    title = ("p_tuning, prompt_tuning, prefix_tuning: learned tokens before every row", "可学习的前置虚拟词元")

    num_virtual_tokens: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="How many learned tokens stand before every row. Nothing given: as many as prompt_init_text has, else 20.",
        zh="每行之前可学习的虚拟词元数；不填则与 prompt_init_text 的词元数相同，否则为 20。",
        unit="tokens",
    )
    prompt_init_text: Annotated[str | None, Text()] = key(
        None,
        en="With prompt_tuning: the words that the learned tokens begin as. Nothing given: words drawn by seed.",
        zh="prompt_tuning 时虚拟词元的初始文字；不填则按 seed 随机取词。",
    )
    encoder_reparameterization_type: Annotated[Literal["mlp", "lstm"], Choice(("mlp", "lstm"))] = key(
        "mlp",
        en="With p_tuning: the small network that the learned tokens go through while they are trained.",
        zh="p_tuning 训练时虚拟词元所经过的小网络。",
    )
    encoder_hidden_size: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Width of that network, and of the one of prefix_projection. Nothing given: the model's own.",
        zh="该网络（及 prefix_projection 网络）的宽度；不填则与模型相同。",
    )
    prefix_projection: Annotated[bool, Flag()] = key(
        False,
        en="With prefix_tuning: learn the prefix through a small network, which is steadier and keeps more memory.",
        zh="prefix_tuning 时经由小网络学习前缀，更稳定但占用更多内存。",
    )
