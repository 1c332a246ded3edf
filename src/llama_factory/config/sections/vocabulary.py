"""Tokens that a tokenizer does not have yet, and the rows that a model gets for them.

What it deliberately does not do: open a tokenizer or a model. Whether a token is new is `render`'s to find out, whether
its row fits `model`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Names, Path, as_text


@dataclass(frozen=True, eq=False)
class Tokens(Names):
    """Tokens: one text with commas, or a YAML list, whose entries are taken as they stand, spaces and commas too.

    An empty one is kept, so that a rule can say so.
    """

    def read(self, value: object) -> tuple[str, ...]:
        if isinstance(value, (list, tuple)):
            return tuple(as_text(part) for part in value)
        return tuple(part.strip() for part in as_text(value).split(","))


class Vocabulary(Section):
    title = ("new tokens", "新词元")

    add_tokens: Annotated[tuple[str, ...], Tokens()] = key(
        (),
        en="Tokens that the tokenizer gets and the model learns: each stands for itself wherever it occurs in the "
        "data, and is shown in answers. With commas, or as a YAML list for one with a space or a comma in it.",
        zh="加入分词器并由模型学习的词元：在数据中出现处各为一个词元，并会显示在回答中。"
        "用逗号分隔；含空格或逗号的词元请用 YAML 列表。",
    )
    add_special_tokens: Annotated[tuple[str, ...], Tokens()] = key(
        (),
        en="The same for special tokens, which answers are shown without. Those that the template writes become "
        "control tokens; all others are tokens of your texts.",
        zh="同上，但为特殊词元，显示回答时会略去。模板写出的成为控制符，其余为文本中的词元。",
    )
    new_special_tokens_config: Annotated[str | None, Path()] = key(
        None,
        en="A YAML or JSON file with more special tokens and a few words on each (`<step>: a step of a proof`): its "
        "row begins as the mean of these words' rows.",
        zh="YAML 或 JSON 文件，列出更多特殊词元及其简短描述（如 `<step>: a step of a proof`）："
        "该词元的行以描述各词元行的均值为起点。",
    )
    init_special_tokens: Annotated[
        Literal["noise_init", "desc_init", "desc_init_w_noise"] | None,
        Choice(("noise_init", "desc_init", "desc_init_w_noise")),
    ] = key(
        None,
        en="How the rows of all new tokens begin: noise_init = mean of all old rows and a little noise, desc_init = "
        "mean of the description's rows, desc_init_w_noise = both. Nothing given: the description where there is one, "
        "else the mean alone.",
        zh="所有新词元的行的起点：noise_init 为全部旧行的均值加少量噪声，desc_init 为描述各行的均值，"
        "desc_init_w_noise 为两者结合；不填则有描述用描述，否则只用均值。",
    )
    resize_vocab: Annotated[bool | None, Flag()] = key(
        None,
        en="Whether the embedding and the head may get more rows (a multiple of 64 in all, never fewer than before). "
        "Nothing given: where add_tokens needs them. true: also where the tokenizer has more tokens than the model.",
        zh="嵌入层与输出头是否可增加行（总数为 64 的倍数，不会减少）；不填则在 add_tokens 需要时增加；"
        "true 则在分词器的词元多于模型时也增加。",
    )

    @property
    def names_tokens(self) -> bool:
        """Whether tokens are named that the tokenizer shall get."""
        return bool(self.add_tokens or self.add_special_tokens or self.new_special_tokens_config)
