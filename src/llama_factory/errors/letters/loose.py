"""The letters about what is asked for by name and cannot be, and what would be found late: kernels, shapes, windows."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "model.no-flash": Letter(
        en="`flash_attn: fa2` needs a CUDA GPU of the Ampere generation (8.0) or later, bf16 or fp16, and attention "
        "heads of at most 256 numbers, a multiple of 8. Here: {found}.",
        en_cure="Leave the key out: `auto` takes the fastest kernel that this machine has.",
        zh="`flash_attn: fa2` 需要 Ampere（8.0）或更新的 CUDA GPU、bf16 或 fp16，且注意力头宽度不超过 256 "
        "并为 8 的倍数。当前：{found}。",
        zh_cure="请去掉此键：`auto` 会使用本机可用的最快算子。",
    ),
    "config.refused-dynamic": Letter(
        en="`{key}: {found}` is not for training: it takes other frequencies for every length, those of the longest "
        "row beside it, so what a row gives would depend on its neighbours, and the model learn none of them well.",
        en_cure="`yarn` for windows several times as long, `linear` for up to twice, `llama3` as Llama 3.1 did.",
        zh="`{key}: {found}` 不适用于训练：其频率随同批最长行的长度而变，一行的结果取决于同批其他行，"
        "模型学不好其中任何一种。",
        zh_cure="窗口扩大数倍用 `yarn`，两倍以内用 `linear`，与 Llama 3.1 相同用 `llama3`。",
    ),
}
