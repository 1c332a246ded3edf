"""The keys of frozen weights in 8 bits or fewer: made so while the model is loaded, or lying there so already.

What it deliberately does not do: know which packages are there, or what a folder holds. That is the `model` room's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.values import Choice, Flag, Names, OneOf, Whole

WITH_TEXTS = dict.fromkeys(("gptq", "awq", "aqlm"), "config.quantised-with-texts")
"""Methods that need example texts and minutes to hours: nothing that happens while a model is loaded."""

NOT_HERE = dict.fromkeys(("quanto", "eetq", "mxfp4", "fp8", "torchao"), "config.quantised-not-here")
"""Methods that are unmaintained, for one maker's GPUs, or bring nothing that the two built ones do not."""


class Quantization(Section):
    commands = ("train", "chat")
    title = (
        "quantisation: the frozen base in fewer bits while it is loaded",
        "量化：加载时将冻结的基座模型压缩到更少位数",
    )

    quantization_bit: Annotated[Literal[8, 4, 3, 2] | None, OneOf((8, 4, 3, 2))] = key(
        None,
        en="Keep the frozen base model's linear layers in so many bits a weight, and train LoRA beside them. "
        "Nothing given: the base as it is.",
        zh="将冻结的基座模型的线性层以每权重若干位保存，并在旁训练 LoRA；不填则保持基座原样。",
        unit="bits",
    )
    quantization_method: Annotated[
        Literal["bitsandbytes", "hqq"] | None,
        Choice(("bitsandbytes", "hqq"), also={"bnb": "bitsandbytes"}, refused={**WITH_TEXTS, **NOT_HERE}),
    ] = key(
        None,
        en="Which library makes these bits: bitsandbytes has 8 and 4, hqq has 8, 4, 3 and 2. "
        "Nothing given: bitsandbytes where it has them.",
        zh="由哪个库量化：bitsandbytes 支持 8 与 4 位，hqq 支持 8、4、3、2 位；不填则优先 bitsandbytes。",
    )
    quantization_type: Annotated[Literal["nf4", "fp4"], Choice(("nf4", "fp4"))] = key(
        "nf4",
        en="The sixteen values of bitsandbytes' 4 bits: nf4 lie as normally distributed weights do, fp4 are floats.",
        zh="bitsandbytes 4 位的十六个取值：nf4 按正态分布的权重排列，fp4 为浮点数。",
    )
    double_quantization: Annotated[bool, Flag()] = key(
        True,
        en="Keep the scales of bitsandbytes' 4 bits in 8 bits too, which saves 0.4 bits a weight.",
        zh="bitsandbytes 4 位的缩放系数也以 8 位保存，每权重节省约 0.4 位。",
    )


class QuantisedCheckpoint(Section):
    """What the user believes a quantised checkpoint to be. Compared with its config.json, never imposed on it."""

    commands = ALL
    title = (
        "quantization_config: a checkpoint that lies there quantised, compared with its own",
        "quantization_config：已量化的检查点，仅与其自身比对",
    )

    quant_method: Annotated[
        Literal["gptq", "awq", "bitsandbytes"] | None,
        Choice(("gptq", "awq", "bitsandbytes"), also={"bnb": "bitsandbytes"}),
    ] = key(
        None,
        en="The form that the checkpoint's quantization_config must name. Another one is refused.",
        zh="检查点的 quantization_config 中应有的量化形式，不一致则拒绝。",
    )
    bits: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Bits a weight that the checkpoint's quantization_config must name.",
        zh="检查点的 quantization_config 中应有的每权重位数。",
        unit="bits",
    )
    group_size: Annotated[int | None, Whole(at_least=1, also=(-1,))] = key(
        None,
        en="Weights that share a scale, as the checkpoint's quantization_config must say. -1 = a whole row.",
        zh="检查点的 quantization_config 中应有的共用缩放系数的权重个数；-1 表示整行。",
        unit="weights",
    )
    desc_act: Annotated[bool | None, Flag()] = key(
        None,
        en="Whether the checkpoint's columns were quantised in the order of their activations (GPTQ).",
        zh="检查点的列是否按激活大小的次序量化（GPTQ）。",
    )
    ignore_layers: Annotated[tuple[str, ...], Names()] = key(
        (),
        en="Layers that the checkpoint must hold unquantised.",
        zh="检查点中应保持未量化的层。",
    )
