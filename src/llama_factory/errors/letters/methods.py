"""Letters about methods of fine-tuning beside LoRA, freeze and full."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "config.two-block-sizes": Letter(
        en="`oft_rank: {rank}` and `oft_block_size: {block}` say the same thing twice.",
        en_cure="Remove one: their product is the width of a layer, so each follows from the other.",
        zh="`oft_rank: {rank}` 与 `oft_block_size: {block}` 重复。",
        zh_cure="请删除其一：两者之积为层宽，可互相推出。",
    ),
    "config.no-block-size": Letter(
        en="neither the number of OFT's blocks nor their width is given.",
        en_cure="Set `oft_block_size: 32`, or `oft_rank`.",
        zh="既未给出 OFT 的块数，也未给出块宽。",
        zh_cure="请设置 `oft_block_size: 32` 或 `oft_rank`。",
    ),
    "model.oft-block-size": Letter(
        en="`{key}: {asked}` does not divide {width}, the width of what this layer reads.",
        en_cure="Take one of {known}, or name other layers in `oft_target`.",
        zh="`{key}: {asked}` 不能整除该层的输入宽度 {width}。",
        zh_cure="请取 {known} 之一，或在 `oft_target` 中换用其他层。",
    ),
    "model.oft-on-conv": Letter(
        en="`{found}` keeps its weight turned round (Conv1D, as GPT-2 does), which peft's OFT cannot rotate.",
        en_cure="Set `finetuning_type: lora`, or choose another model.",
        zh="`{found}` 的权重为转置存放（Conv1D，如 GPT-2），peft 的 OFT 无法旋转。",
        zh_cure="请设置 `finetuning_type: lora`，或换用其他模型。",
    ),
    "config.prefix-checkpointing": Letter(
        en="prefix tuning keeps its prefix in the cache of keys and values, which `gradient_checkpointing` drops.",
        en_cure="Remove `gradient_checkpointing: true`, or set `finetuning_type: prompt_tuning`.",
        zh="前缀微调把前缀放在键值缓存中，而 `gradient_checkpointing` 会丢弃该缓存。",
        zh_cure="请删除 `gradient_checkpointing: true`，或设置 `finetuning_type: prompt_tuning`。",
    ),
    "model.prompts-do-not-fit": Letter(
        en="{found} does not work with a model of the type {type}: {reason}.",
        en_cure="Set `finetuning_type` to one of: {known}.",
        zh="{found} 不适用于 {type} 类型的模型：{reason}。",
        zh_cure="请将 `finetuning_type` 设为以下之一：{known}。",
    ),
    "model.prompt-text-empty": Letter(
        en="the text that the learned tokens begin as has no words.",
        en_cure="Write some, or leave `prompt_init_text` out.",
        zh="虚拟词元的初始文字为空。",
        zh_cure="请填写文字，或去掉 `prompt_init_text`。",
    ),
    "model.prompt-text-long": Letter(
        en="the text that the learned tokens begin as is {words} tokens long; there is room for {tokens}.",
        en_cure="Set `num_virtual_tokens: {words}`, or shorten `prompt_init_text`.",
        zh="虚拟词元的初始文字有 {words} 个词元，而只有 {tokens} 个位置。",
        zh_cure="请设置 `num_virtual_tokens: {words}`，或缩短 `prompt_init_text`。",
    ),
    "model.prompts-without-encoder": Letter(
        en="the learned tokens are there, but not {found}, the network that they were trained through.",
        en_cure="They can be used and not trained further. Go on from a checkpoint of the run that made them.",
        zh="虚拟词元存在，但缺少训练它们的网络 {found}。",
        zh_cure="可以使用但不能继续训练。请从生成它们的训练的检查点继续。",
    ),
    "export.prompts-do-not-merge": Letter(
        en="the adapter is learned tokens before every row; there is no weight that they could be merged into.",
        en_cure="Use it as it is: `llamafactory-cli chat` and peft open it on its base. For a model without an "
        "adapter, train with `finetuning_type: lora`.",
        zh="该适配器是每行之前的可学习词元，没有可以合并的权重。",
        zh_cure="请直接使用：`llamafactory-cli chat` 与 peft 可在基座上打开。若需要不带适配器的模型，请用 "
        "`finetuning_type: lora` 训练。",
    ),
    "model.adapters-do-not-add": Letter(
        en="several adapters are given ({found}), and only LoRA's changes can be added to each other.",
        en_cure="Merge one into the base with `llamafactory-cli export`, then put the next on the result.",
        zh="给出了多个适配器（{found}），但只有 LoRA 的改动可以相加。",
        zh_cure="请先用 `llamafactory-cli export` 合并一个到基座，再在结果上使用下一个。",
    ),
}
