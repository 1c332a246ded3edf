"""The letters about weights in 8 bits or fewer: what they cannot do, what is missing for them, what they are."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "config.quantised-with-texts": Letter(
        en="`{key}: {found}` is not made while a model is loaded: it needs example texts and a run of its own.",
        en_cure="Take a checkpoint that is in that form already and leave the key out, or write `{key}: {expected}`.",
        zh="`{key}: {found}` 无法在加载模型时完成：它需要示例文本并单独运行。",
        zh_cure="请使用已是该形式的检查点并删除此键，或写 `{key}: {expected}`。",
    ),
    "config.quantised-not-here": Letter(
        en="`{key}: {found}` is not offered here.",
        en_cure="Write `{key}: {expected}`: bitsandbytes has 8 and 4 bits, hqq has 8, 4, 3 and 2.",
        zh="此处不提供 `{key}: {found}`。",
        zh_cure="请写 `{key}: {expected}`：bitsandbytes 支持 8 与 4 位，hqq 支持 8、4、3、2 位。",
    ),
    "config.quantised-bits": Letter(
        en="bitsandbytes has 8 and 4 bits, not {bits}.",
        en_cure="Write `quantization_method: hqq`, which has 8, 4, 3 and 2, or `quantization_bit: 4`.",
        zh="bitsandbytes 支持 8 与 4 位，不支持 {bits} 位。",
        zh_cure="请写 `quantization_method: hqq`（支持 8、4、3、2 位），或 `quantization_bit: 4`。",
    ),
    "config.quantised-learns": Letter(
        en="`finetuning_type: {found}` with `quantization_bit: {bits}`: weights in so few bits cannot learn; "
        "LoRA beside them can.",
        en_cure="Write `finetuning_type: lora`, or leave `quantization_bit` out.",
        zh="`finetuning_type: {found}` 与 `quantization_bit: {bits}`：位数如此之少的权重无法训练，可在旁训练 LoRA。",
        zh_cure="请写 `finetuning_type: lora`，或删除 `quantization_bit`。",
    ),
    "model.quantised-package": Letter(
        en="{method} is needed for this and is not installed (missing: {missing}).",
        en_cure="Run `{install}`, or leave `quantization_bit` out: LoRA on bfloat16 weights needs no package.",
        zh="此操作需要 {method}，但尚未安装（缺少：{missing}）。",
        zh_cure="请运行 `{install}`；或删除 `quantization_bit`：在 bfloat16 权重上训练 LoRA 无需额外软件包。",
    ),
    "model.quantised-checkpoint-package": Letter(
        en="the weights are in {method} form, and what reads it is not installed (missing: {missing}).",
        en_cure="In an environment of its own (it may change numpy): `{install}`. Or take the original model with "
        "`quantization_bit: 4`.",
        zh="权重为 {method} 形式，但读取它的软件包尚未安装（缺少：{missing}）。",
        zh_cure="请在单独的环境中（它可能更改 numpy）运行 `{install}`；或使用原始模型并设置 `quantization_bit: 4`。",
    ),
    "model.quantised": Letter(
        en="the weights are quantised in a form that cannot be trained beside here ({found}).",
        en_cure="Take the original model, in bfloat16, float16 or float32, or a checkpoint in GPTQ or AWQ form.",
        zh="权重已量化，且其形式（{found}）在此无法用于训练。",
        zh_cure="请使用 bfloat16、float16 或 float32 的原始模型，或 GPTQ、AWQ 形式的检查点。",
    ),
    "model.quantised-twice": Letter(
        en="the weights are quantised already ({found}), and `quantization_bit: {bits}` asks for it once more.",
        en_cure="Leave `quantization_bit` out, or take the original model.",
        zh="权重已经量化（{found}），而 `quantization_bit: {bits}` 要求再次量化。",
        zh_cure="请删除 `quantization_bit`，或使用原始模型。",
    ),
    "model.not-quantised": Letter(
        en="`quantization_config` ({keys}) describes a checkpoint that is quantised, and this one is not.",
        en_cure="Take the quantised checkpoint, or replace these lines by `quantization_bit`, "
        "which quantises while loading.",
        zh="`quantization_config`（{keys}）描述的是已量化的检查点，而此模型未量化。",
        zh_cure="请使用已量化的检查点，或将这些行改为 `quantization_bit`，在加载时量化。",
    ),
    "model.other-quantisation": Letter(
        en="`{key}: {asked}` was given, and the checkpoint's quantization_config says {own}.",
        en_cure="Correct the line or remove it: these keys describe the checkpoint and change nothing in it.",
        zh="给出了 `{key}: {asked}`，而检查点的 quantization_config 为 {own}。",
        zh_cure="请改正或删除该行：这些键仅描述检查点，不会改变它。",
    ),
    "model.quantised-broken": Letter(
        en="quantization_config and the weights do not agree: {found}.",
        en_cure="Fetch the checkpoint again, or take another one; training on it would fail or teach nonsense.",
        zh="quantization_config 与权重不一致：{found}。",
        zh_cure="请重新下载检查点或换用其他检查点；在其上训练会失败或学到错误内容。",
    ),
    "model.quantised-names-nothing": Letter(
        en="the checkpoint's list of layers left unquantised names some that it does not have: {found}.",
        en_cure="Nothing to do if the model answers well; such lists are often copied from a sibling model.",
        zh="检查点的未量化层列表中有它没有的层：{found}。",
        zh_cure="若模型回答正常则无需处理；此类列表常由同系列模型复制而来。",
    ),
    "model.quantised-nothing": Letter(
        en="beside its head the model has no layers of the kind that {method} quantises.",
        en_cure="Leave `quantization_bit` out. Layers of GPT-2's kind are known to bitsandbytes (8 and 4 bits) alone.",
        zh="除输出头外，模型没有 {method} 能量化的层。",
        zh_cure="请删除 `quantization_bit`。GPT-2 类型的层只有 bitsandbytes（8 与 4 位）能量化。",
    ),
    "model.quantised-group": Letter(
        en="a layer with {inputs} inputs cannot be cut into groups of at least {smallest} weights that share a scale.",
        en_cure="Write `quantization_method: bitsandbytes`, whose groups may end anywhere.",
        zh="有 {inputs} 个输入的层无法划分为每组至少 {smallest} 个权重的组。",
        zh_cure="请写 `quantization_method: bitsandbytes`，其分组可在任意处结束。",
    ),
    "model.quantised-base-learns": Letter(
        en="`finetuning_type: {found}` on a checkpoint that is quantised ({form}): such weights cannot learn.",
        en_cure="Write `finetuning_type: lora`, or take the original model.",
        zh="在已量化的检查点（{form}）上使用 `finetuning_type: {found}`：此类权重无法训练。",
        zh_cure="请写 `finetuning_type: lora`，或使用原始模型。",
    ),
    "model.quantised-loaded": Letter(
        en="the base's {layers} linear layers are kept in {name}.",
        en_cure="The model takes {size} in place of {plain}.",
        zh="基座模型的 {layers} 个线性层以 {name} 保存。",
        zh_cure="模型占用 {size}，未量化时为 {plain}。",
    ),
    "model.other-quantisation-trained": Letter(
        en="the adapter was trained beside the base in {trained}, and stands here on the base in {here}.",
        en_cure="Answers differ a little from those in training. As in training: {keys}.",
        zh="适配器是在 {trained} 的基座上训练的，此处的基座为 {here}。",
        zh_cure="回答会与训练时略有不同。要与训练时一致：{keys}。",
    ),
    "model.quantised-beside": Letter(
        en="`{key}: {found}` cannot be had on a base whose layers are quantised ({form}).",
        en_cure="Remove the line, or take the base as it is.",
        zh="基座的层已量化（{form}），无法使用 `{key}: {found}`。",
        zh_cure="请删除该行，或使用未量化的基座模型。",
    ),
    "export.quantised-base": Letter(
        en="the base's weights are quantised ({found}): an adapter merged into them would be rounded away.",
        en_cure="Let programs load base and adapter side by side, or train on the original model and merge into that.",
        zh="基座权重已量化（{found}）：合并进去的适配器会被舍入掉。",
        zh_cure="请让程序分别加载基座与适配器，或在原始模型上训练并合并。",
    ),
    "export.merge-into-quantised": Letter(
        en="the layer is quantised ({found}); what is merged into it is lost.",
        en_cure="This is a fault of this program: a base is reloaded in full precision for merging. Please report it.",
        zh="该层已量化（{found}）；合并进去的内容会丢失。",
        zh_cure="这是本程序的错误：合并前应以全精度重新加载基座。请报告。",
    ),
    "export.trained-on-quantised": Letter(
        en="the adapter was trained beside the base in {trained}.",
        en_cure="It is merged into the base in full precision, where answers differ a little from those in training.",
        zh="适配器是在 {trained} 的基座上训练的。",
        zh_cure="现合并进全精度的基座，其回答会与训练时略有不同。",
    ),
}
