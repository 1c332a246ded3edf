"""What is said about LoRA and its variants: where they are put, what they bring, and what does not go together."""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.errors.letters.letter import Letter

LETTERS: Mapping[str, Letter] = {
    "model.pattern-among-others": Letter(
        en="a regular expression stands among other names: {found}.",
        en_cure="Write one expression, as `.*\\.(q|v)_proj`, or only names.",
        zh="正则表达式与其他名称同时出现：{found}。",
        zh_cure="请只写一个表达式，如 `.*\\.(q|v)_proj`，或只写名称。",
    ),
    "model.broken-pattern": Letter(
        en="`{found}` is no regular expression: {reason}.",
        en_cure="Write names, as `q_proj,v_proj`, or an expression that matches whole names, as `.*\\.(q|v)_proj`.",
        zh="`{found}` 不是合法的正则表达式：{reason}。",
        zh_cure="请写名称，如 `q_proj,v_proj`，或与完整层名匹配的表达式，如 `.*\\.(q|v)_proj`。",
    ),
    "model.pattern-means-head": Letter(
        en="the expression `{found}` also matches the output head, `{head}`.",
        en_cure="Let it match less, as `model\\..*`. Who means the head names it; `{key}: all` leaves it out.",
        zh="表达式 `{found}` 也匹配了输出头 `{head}`。",
        zh_cure="请缩小匹配范围，如 `model\\..*`。若确要选输出头，请写其名称；`{key}: all` 不含输出头。",
    ),
    "model.pattern-means-nothing": Letter(
        en="no linear layer's whole name matches `{found}`. The first is `{first}`; names end in: {known}.",
        en_cure="An expression must match the whole name: begin it with `.*`, as `.*\\.(q|v)_proj`.",
        zh="没有线性层的完整名称与 `{found}` 匹配。第一个是 `{first}`；名称结尾有：{known}。",
        zh_cure="表达式须与完整名称匹配：请以 `.*` 开头，如 `.*\\.(q|v)_proj`。",
    ),
    "model.no-such-module": Letter(
        en="this model has no module `{found}`{nearest} with weights. It has: {known}.",
        en_cure="Set `additional_target` to some of these.",
        zh="此模型没有带权重的模块 `{found}`{nearest}。可选：{known}。",
        zh_cure="请将 `additional_target` 设为其中若干项。",
    ),
    "model.adapted-and-whole": Letter(
        en="`{found}` would have LoRA matrices and learn whole as well.",
        en_cure="Leave it out of `additional_target`, or name the other layers in `lora_target`.",
        zh="`{found}` 既会加 LoRA 矩阵，又会完整训练。",
        zh_cure="请将其从 `additional_target` 中去掉，或在 `lora_target` 中只写其他层。",
    ),
    "model.learn-as-one": Letter(
        en="the model shares one weight between its embedding and its output head: both learn as one ({found}).",
        en_cure="Both names are saved, and stay the same.",
        zh="此模型的嵌入层与输出头共享一个权重：二者作为整体一起训练（{found}）。",
        zh_cure="两个名称都会保存，且保持一致。",
    ),
    "model.no-bias-to-learn": Letter(
        en="`lora_bias: lora_only`, but these layers have no bias: {found}. What it learns there could not be merged.",
        en_cure="Name only layers that have one in `lora_target` (here: {known}), or remove `lora_bias`.",
        zh="设置了 `lora_bias: lora_only`，但以下层没有偏置：{found}。在那里学到的偏置无法合并。",
        zh_cure="请在 `lora_target` 中只写有偏置的层（此处：{known}），或删除 `lora_bias`。",
    ),
    "model.adapter-does-not-add": Letter(
        en="the adapter was made with {found}, and {count} adapters are given: these do not add up.",
        en_cure="Export the adapter alone (`export_dir`), and take the exported model as `model_name_or_path`.",
        zh="该适配器使用了 {found}，而共给出 {count} 个适配器：它们无法叠加。",
        zh_cure="请先单独导出该适配器（`export_dir`），再以导出的模型作为 `model_name_or_path`。",
    ),
    "model.adapter-needs-others": Letter(
        en="the adapter was trained on top of {count} other(s), and {found} is not among those that are given.",
        en_cure="Without them its answers are wrong. Write `adapter_name_or_path: {chain}`.",
        zh="该适配器是在另外 {count} 个适配器之上训练的，而给出的适配器中没有 {found}。",
        zh_cure="缺少它们会导致回答错误。请写 `adapter_name_or_path: {chain}`。",
    ),
    "model.adapter-other-method": Letter(
        en="`finetuning_type: {asked}`, and the adapter to be trained further is of the kind {found}.",
        en_cure="Write `finetuning_type: {found}`, or leave `adapter_name_or_path` out to train a new one.",
        zh="`finetuning_type: {asked}`，而要继续训练的适配器类型为 {found}。",
        zh_cure="请写 `finetuning_type: {found}`，或删除 `adapter_name_or_path` 以训练新的适配器。",
    ),
    "model.adapter-keeps-its-own": Letter(
        en="the adapter is trained further as it was made, and these keys do nothing (in brackets its own): {keys}.",
        en_cure="Remove them. For other settings export the adapter (`export_dir`) and train a new one on the result.",
        zh="适配器按其原有设置继续训练，以下键不起作用（括号内为其自身的值）：{keys}。",
        zh_cure="请删除这些键。若需其他设置，请先导出该适配器（`export_dir`），再在结果上训练新的适配器。",
    ),
    "model.pissa-not-here": Letter(
        en="`pissa_init` takes weights apart, and those of `{found}` are no matrix of plain numbers.",
        en_cure="Name linear layers in `lora_target`, load the model unquantised, or remove `pissa_init`.",
        zh="`pissa_init` 需要分解权重，而 `{found}` 的权重不是普通数值矩阵。",
        zh_cure="请在 `lora_target` 中只写线性层，以非量化方式加载模型，或删除 `pissa_init`。",
    ),
    "model.rank-beyond-weight": Letter(
        en="`lora_rank: {found}`, but a weight of this model has only {known} directions to begin from.",
        en_cure="Set a smaller `lora_rank`, or remove `{key}`.",
        zh="`lora_rank: {found}`，但此模型有权重只有 {known} 个方向可供初始化。",
        zh_cure="请减小 `lora_rank`，或删除 `{key}`。",
    ),
    "config.pissa-alone": Letter(
        en="`pissa_init` and `{key}` are both set: the first begins at the weights, the second counts on zero.",
        en_cure="Remove one of them.",
        zh="同时设置了 `pissa_init` 与 `{key}`：前者从权重出发，后者要求从零开始。",
        zh_cure="请删除其中之一。",
    ),
    "config.quantised-pissa": Letter(
        en="`pissa_init` takes the weights apart, and with `quantization_bit: {bits}` they are not there.",
        en_cure="Leave one of them out; `use_rslora` and `loraplus_lr_ratio` go with `quantization_bit`.",
        zh="`pissa_init` 需要分解权重，而 `quantization_bit: {bits}` 时没有完整权重。",
        zh_cure="请去掉其中之一；`use_rslora` 和 `loraplus_lr_ratio` 可与 `quantization_bit` 同用。",
    ),
    "config.new-adapter-must-add": Letter(
        en="`create_new_adapter` puts an adapter on top of others, and with `{key}` it would not add up with them.",
        en_cure="Export the others first (`export_dir`) and train on the exported model, or remove `{key}`.",
        zh="`create_new_adapter` 会在其他适配器之上新建适配器，而使用 `{key}` 时它们无法叠加。",
        zh_cure="请先导出其他适配器（`export_dir`）并在导出的模型上训练，或删除 `{key}`。",
    ),
    "model.adapter-on-changed-base": Letter(
        en="the adapter began as `{found}`, which changes the base: on the base as published its answers are wrong.",
        en_cure="Where it was made, save it with peft's `path_initial_model_for_weight_conversion`, as plain LoRA.",
        zh="该适配器以 `{found}` 方式初始化，会改动基座：放在原始基座上回答会出错。",
        zh_cure="请在制作它的地方用 peft 的 `path_initial_model_for_weight_conversion` 保存，即可得到普通 LoRA。",
    ),
}
