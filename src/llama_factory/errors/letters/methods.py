"""Letters about OFT, learned prompts, LLaMA Pro, longer windows, and losses and dropout: what does not fit, and why."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "config.two-block-sizes": Letter(
        en="`oft_rank: {rank}` and `oft_block_size: {block}` say the same thing twice.",
        en_cure="Remove one: their product is the width of a layer, so each follows from the other.",
        zh="`oft_rank: {rank}` 与 `oft_block_size: {block}` 重复。",
        zh_cure="请删除其一：两者之积为层宽，可互相推出。",
    ),
    "config.pro-needs-freeze": Letter(
        en="`use_llama_pro` trains whole new blocks, and `finetuning_type: {found}` does not.",
        en_cure="Set `finetuning_type: freeze`, or remove `use_llama_pro`.",
        zh="`use_llama_pro` 训练完整的新块，而 `finetuning_type: {found}` 不是。",
        zh_cure="请设置 `finetuning_type: freeze`，或删除 `use_llama_pro`。",
    ),
    "model.pro-blocks": Letter(
        en="{found} new blocks cannot be spread evenly among the {layers} layers of this model.",
        en_cure="Set `llama_pro_blocks` to one of {known}.",
        zh="{found} 个新块无法均匀分布在此模型的 {layers} 层之间。",
        zh_cure="请将 `llama_pro_blocks` 设为 {known} 之一。",
    ),
    "model.pro-layers": Letter(
        en="{found} new blocks are said to be among the {layers} layers of this model; they cannot be evenly spread.",
        en_cure="To put new blocks in, set `llama_pro_blocks`. For a model that has them, set "
        "`freeze_trainable_layers` to their number.",
        zh="称此模型的 {layers} 层中有 {found} 个新块，但无法均匀分布。",
        zh_cure="要插入新块请设置 `llama_pro_blocks`；若模型已扩展，请将 `freeze_trainable_layers` 设为新块数。",
    ),
    "model.pro-changes": Letter(
        en="a model of the type {type} says something else, or nothing, once blocks that write zeros stand in it.",
        en_cure="Remove `use_llama_pro`: its layers are not of the kind that can be added to.",
        zh="{type} 类型的模型插入输出为零的块后，输出会改变或无法计算。",
        zh_cure="请删除 `use_llama_pro`：其层结构不支持扩展。",
    ),
    "model.no-rope": Letter(
        en="a model of the type {type} does not turn places the same way in all layers, so they cannot be squeezed.",
        en_cure="Remove `rope_scaling`, and keep `cutoff_len` within the model's window.",
        zh="{type} 类型的模型并非所有层都使用相同的旋转位置编码，无法缩放。",
        zh_cure="请删除 `rope_scaling`，并使 `cutoff_len` 不超过模型窗口。",
    ),
    "model.rope-scaled-already": Letter(
        en="the model's places are squeezed already ({found}); its window is {window} tokens.",
        en_cure="Remove `rope_scaling`, and keep `cutoff_len` within {window}.",
        zh="该模型的位置已缩放（{found}）；窗口为 {window} 个词元。",
        zh_cure="请删除 `rope_scaling`，并使 `cutoff_len` 不超过 {window}。",
    ),
    "model.rope-fits": Letter(
        en="`cutoff_len: {cutoff}` fits into the model's window of {window} tokens: there is nothing to squeeze.",
        en_cure="Remove `rope_scaling`, or set a `cutoff_len` above {window}.",
        zh="`cutoff_len: {cutoff}` 未超出模型的 {window} 词元窗口，无需缩放。",
        zh_cure="请删除 `rope_scaling`，或将 `cutoff_len` 设为大于 {window}。",
    ),
    "model.rope-untrained": Letter(
        en="`rope_scaling: {asked}` is given, and what is opened was trained with {found}.",
        en_cure="Remove `rope_scaling`: what a result was trained with is remembered, with its factor.",
        zh="给出了 `rope_scaling: {asked}`，而打开的模型训练时为 {found}。",
        zh_cure="请删除 `rope_scaling`：训练时的设置及倍数已随结果保存。",
    ),
    "model.windows-differ": Letter(
        en="the adapters were trained with {count} different windows (`rope_scaling`).",
        en_cure="Use adapters that were trained with the same.",
        zh="这些适配器训练时使用了 {count} 种不同的窗口（`rope_scaling`）。",
        zh_cure="请使用训练窗口相同的适配器。",
    ),
    "config.refused-dynamic": Letter(
        en="`{key}: {found}` is not for training: it takes other frequencies for every length, those of the longest "
        "row beside it, so what a row gives would depend on its neighbours, and the model learn none of them well.",
        en_cure="`yarn` for windows several times as long, `linear` for up to twice, `llama3` as Llama 3.1 did.",
        zh="`{key}: {found}` 不适用于训练：其频率随同批最长行的长度而变，一行的结果取决于同批其他行，"
        "模型学不好其中任何一种。",
        zh_cure="窗口扩大数倍用 `yarn`，两倍以内用 `linear`，与 Llama 3.1 相同用 `llama3`。",
    ),
    "config.two-losses": Letter(
        en="several losses are asked for: {found}.",
        en_cure="Keep one of them.",
        zh="同时要求了多种损失：{found}。",
        zh_cure="请只保留其中一种。",
    ),
    "model.no-dropout": Letter(
        en="a model of the type {type} has no dropout of its own.",
        en_cure="Remove `model_dropout`. To learn less by heart: `lora_dropout`, `weight_decay` or fewer epochs.",
        zh="{type} 类型的模型自身没有 dropout。",
        zh_cure="请删除 `model_dropout`。要减轻过拟合，可用 `lora_dropout`、`weight_decay` 或减少训练轮数。",
    ),
    "model.dropout-set": Letter(
        en="while training, the model's own {found} are {value}.",
        en_cure="config.json of the result keeps the base's.",
        zh="训练时模型自身的 {found} 为 {value}。",
        zh_cure="结果的 config.json 保留基座的值。",
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
