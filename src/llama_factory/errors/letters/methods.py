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
    "model.adapters-do-not-add": Letter(
        en="several adapters are given ({found}), and only LoRA's changes can be added to each other.",
        en_cure="Merge one into the base with `llamafactory-cli export`, then put the next on the result.",
        zh="给出了多个适配器（{found}），但只有 LoRA 的改动可以相加。",
        zh_cure="请先用 `llamafactory-cli export` 合并一个到基座，再在结果上使用下一个。",
    ),
}
