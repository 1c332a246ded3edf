"""How answers are written, and what an export looks like.

What it deliberately does not do: fill in the model's own generation settings. Nothing given here
leaves the choice to its generation_config.json, which `generation` reads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from llama_factory.config.keys import Section, key
from llama_factory.config.values import Choice, Flag, Number, Path, Whole


class Generation(Section):
    commands = ("chat",)
    title = ("generation: nothing given = the model's own choice", "生成：不填则由模型自身的设置决定")

    do_sample: Annotated[bool | None, Flag()] = key(
        None,
        en="Draw each token at random by its probability; false takes the likeliest.",
        zh="按概率随机取词；false 则取概率最高的。",
    )
    temperature: Annotated[float | None, Number(at_least=0)] = key(
        None,
        en="Below 1 the likely tokens become likelier, above 1 less so.",
        zh="小于 1 使高概率词更易被选中，大于 1 则相反。",
        starter="# 0.7",
    )
    top_p: Annotated[float | None, Number(above=0, at_most=1)] = key(
        None,
        en="Draw among the likeliest tokens that together hold this probability.",
        zh="只在累计概率达到此值的词中抽取。",
        unit="probability",
    )
    top_k: Annotated[int | None, Whole(at_least=0)] = key(
        None,
        en="Draw among this many likeliest tokens. 0 = all.",
        zh="只在概率最高的若干词中抽取；0 表示全部。",
        unit="tokens",
    )
    repetition_penalty: Annotated[float | None, Number(above=0)] = key(
        None,
        en="Above 1, tokens that already stand in the text become less likely.",
        zh="大于 1 时，已出现的词更不易被选中。",
    )
    max_new_tokens: Annotated[int | None, Whole(at_least=1)] = key(
        1024,
        en="The longest answer.",
        zh="回答的最大长度。",
        unit="tokens",
        starter="# 512",
    )
    max_length: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="The longest prompt and answer together. max_new_tokens goes first when both are given.",
        zh="提示与回答的总长度上限；与 max_new_tokens 同时给出时以后者为准。",
        unit="tokens",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_given_max_length_stands_alone(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("max_length") is not None and "max_new_tokens" not in given:
            return {**given, "max_new_tokens": None}
        return given


class Export(Section):
    commands = ("export",)
    title = ("export", "导出")

    export_dir: Annotated[str | None, Path()] = key(
        None,
        en="The folder that export writes: the base model with the adapters merged into it.",
        zh="导出的文件夹：合并了适配器的基座模型。",
        starter="# models/my-model",
    )
    export_size: Annotated[float, Number(above=0)] = key(
        5.0,
        en="The largest weight file.",
        zh="单个权重文件的最大大小。",
        unit="GB",
    )
    export_device: Annotated[Literal["cpu", "auto"], Choice(("cpu", "auto"))] = key(
        "cpu",
        en="Where the weights are merged. auto takes a GPU when there is one.",
        zh="合并权重所用的设备；auto 在有 GPU 时使用 GPU。",
    )
    export_legacy_format: Annotated[bool, Flag()] = key(
        False,
        en="Only false: weights are written as safetensors. The old .bin files are pickles, which can run code.",
        zh="只能为 false：权重写为 safetensors。旧的 .bin 是 pickle 文件，可能执行代码。",
    )
