"""Which model, which tokenizer, which adapters, and how they are opened.

What it deliberately does not do: look whether they exist. That is the `model` room's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from llama_factory.config.keys import ALL, Section, key
from llama_factory.config.sections.quantization import QuantisedCheckpoint, Quantization
from llama_factory.config.sections.vocabulary import Vocabulary
from llama_factory.config.values import Choice, Flag, Names, Path, Text, Whole


class Architecture(Section):
    """What the user believes the model to be. Compared with the model's own config.json, never imposed on it."""

    commands = ALL
    title = ("architecture, compared with the model's own", "结构，仅与模型自身比对")

    model_type: Annotated[str | None, Text()] = key(
        None,
        en="The model type that config.json must name. Another one is refused.",
        zh="config.json 中应有的模型类型，不一致则拒绝。",
    )
    hidden_size: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Width of the hidden states that config.json must name.",
        zh="config.json 中应有的隐藏层宽度。",
    )
    num_hidden_layers: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Number of layers that config.json must name.",
        zh="config.json 中应有的层数。",
    )
    num_attention_heads: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Number of attention heads that config.json must name.",
        zh="config.json 中应有的注意力头数。",
    )
    num_key_value_heads: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Number of key/value heads that config.json must name.",
        zh="config.json 中应有的键值头数。",
    )
    intermediate_size: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Width of the feed-forward layers that config.json must name.",
        zh="config.json 中应有的前馈层宽度。",
    )
    head_dim: Annotated[int | None, Whole(at_least=1)] = key(
        None,
        en="Width of one attention head that config.json must name.",
        zh="config.json 中应有的单个注意力头宽度。",
    )


class Model(Section):
    commands = ALL
    title = ("model", "模型")

    model_name_or_path: Annotated[str | None, Path()] = key(
        None,
        en="The base model: a folder with safetensors, or a name on the hub.",
        zh="基座模型：含 safetensors 的文件夹，或模型库中的名称。",
        starter="models/SmolLM2-135M-Instruct",
    )
    adapter_name_or_path: Annotated[tuple[str, ...], Names(paths=True)] = key(
        (),
        en="Trained adapters to put on the base model: the output_dir of a LoRA run.",
        zh="要加在基座模型上的已训练适配器，即 LoRA 训练的 output_dir。",
        starter={"lora": "# saves/my-model"},
    )
    tokenizer_name: Annotated[str | None, Path()] = key(
        None,
        en="A folder or hub name to read the tokenizer from, when it is not the model's own.",
        zh="分词器所在文件夹或名称；不填则用模型自带的分词器。",
    )
    use_fast_tokenizer: Annotated[bool, Flag()] = key(
        True,
        en="Encode large data sets with fastokens, every 32nd row of which `tokenizers` encodes too and compares. "
        "false: all rows with `tokenizers` alone.",
        zh="用 fastokens 对大型数据集分词，每 32 行中有一行由 `tokenizers` 再次分词并比对；"
        "false 则全部只用 `tokenizers`。",
        commands=("train",),
    )
    trust_remote_code: Annotated[bool, Flag()] = key(
        False,
        en="Run Python code that the model's authors ship. Only for models whose authors you trust.",
        zh="运行模型作者附带的 Python 代码。仅用于您信任其作者的模型。",
    )
    model_revision: Annotated[str, Text()] = key(
        "main",
        en="Branch, tag or commit on the hub.",
        zh="模型库中的分支、标签或提交。",
    )
    cache_dir: Annotated[str | None, Path()] = key(
        None,
        en="Folder for models fetched from the hub. Nothing given: the hub client's own.",
        zh="从模型库下载的文件所放的文件夹；不填则由下载程序决定。",
    )
    hf_hub_token: Annotated[str | None, Text()] = key(
        None,
        en="Access token of the hub. Never written to a log or a saved configuration.",
        zh="模型库的访问令牌。不会写入日志或保存的配置。",
        secret=True,
    )
    flash_attn: Annotated[
        Literal["auto", "disabled", "sdpa", "eager", "fa2"],
        Choice(
            ("auto", "disabled", "sdpa", "eager", "fa2"),
            planned=("fa3", "flash_attention_3"),
            also={"true": "auto", "false": "disabled", "flash_attention_2": "fa2"},
        ),
    ] = key(
        "auto",
        en="How attention is computed: sdpa is PyTorch's fused kernel, disabled and eager the plain formula. "
        "Training on a GPU, auto takes PyTorch's own FlashAttention 2 for all rows at once where it fits, and fa2 "
        "demands it.",
        zh="注意力的计算方式：sdpa 为 PyTorch 融合算子，disabled 与 eager 为直接计算。在 GPU 上训练时，"
        "auto 在可用时对所有行一次使用 PyTorch 自带的 FlashAttention 2，fa2 则要求必须使用。",
    )
    fused_layers: Annotated[bool, Flag()] = key(
        True,
        en="Train with layers that compute in one piece, and compute once what all rows of a step begin with. "
        "false: as peft and transformers write them, every row in full.",
        zh="训练时使用合并计算的层，各行相同的开头只计算一次；false 则按 peft 与 transformers 的写法逐行完整计算。",
        commands=("train",),
    )
    cache_frozen_layers: Annotated[Literal["auto", "true", "false"], Choice(("auto", "true", "false"))] = key(
        "auto",
        en="Compute once what the layers below the lowest one that learns make of a row, and read it from a file in "
        "later epochs. auto: where there are some, with fused_layers, from one and a half epochs on.",
        zh="最低的训练层以下各层对每行的输出只计算一次，后续轮次从文件读取；"
        "auto 表示存在这样的层、fused_layers 开启且至少训练一轮半时使用。",
        commands=("train",),
    )
    rope_scaling: Annotated[
        Literal["linear", "yarn", "llama3"] | None,
        Choice(("linear", "yarn", "llama3"), refused={"dynamic": "config.refused-dynamic"}),
    ] = key(
        None,
        en="Train with a cutoff_len beyond the model's window: how places are squeezed into it. The factor is "
        "cutoff_len / window, rounded up; the result remembers it, so chat and export need not be told.",
        zh="以超出模型窗口的 cutoff_len 训练时位置的压缩方式。倍数为 cutoff_len / 窗口（向上取整），并随结果保存，"
        "对话与导出时无需再填。",
    )
    infer_dtype: Annotated[
        Literal["auto", "float16", "bfloat16", "float32"],
        Choice(
            ("auto", "float16", "bfloat16", "float32"),
            also={"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"},
        ),
    ] = key(
        "auto",
        en="Number format for chat and for exported weights. auto keeps the base model's.",
        zh="对话与导出权重的数值格式；auto 保持基座模型的格式。",
        commands=("chat", "export"),
    )
    device_map: Annotated[Literal["auto", "cpu", "cuda"] | None, Choice(("auto", "cpu", "cuda"))] = key(
        None,
        en="Where the model is computed. auto takes a GPU when there is one.",
        zh="模型所在设备；auto 在有 GPU 时使用 GPU。",
    )
    quantization: Quantization = Quantization()
    quantised_checkpoint: QuantisedCheckpoint = QuantisedCheckpoint()
    vocabulary: Vocabulary = Vocabulary()
    architecture: Architecture = Architecture()
