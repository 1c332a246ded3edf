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
    "model.beyond-window-learned": Letter(
        en="the model's window is {window} tokens, {before} of which the learned ones before every row take; {count} "
        "rows are longer than the rest (the longest {longest}).",
        en_cure="Lower `cutoff_len` to {room}: beyond its window a model has learned nothing it could build on.",
        zh="模型的窗口为 {window} 个词元，其中每行之前的可学习词元占 {before} 个；有 {count} 行超出余下部分"
        "（最长 {longest}）。",
        zh_cure="请把 `cutoff_len` 降到 {room}：模型没有学过窗口之外的内容。",
    ),
    "trainer.evaluation-halved": Letter(
        en="memory ran out in the evaluation while {tokens} tokens were computed at a time ({reason}). They were "
        "computed again with at most {now} at a time, as will be all evaluations from here on. The figures are the "
        "same.",
        en_cure="Set `micro_batch_tokens: {now}` to save the attempt next time.",
        zh="验证时一次计算 {tokens} 个词元，内存不足（{reason}）。已改为一次最多计算 {now} 个词元重新计算，"
        "此后的验证也是如此，结果不变。",
        zh_cure="下次可设置 `micro_batch_tokens: {now}`，省去这次尝试。",
    ),
    "trainer.no-memory-for-evaluation": Letter(
        en="memory ran out in the evaluation with one row alone ({tokens} tokens): {reason}. The last good state: "
        "{kept}.",
        en_cure="Lower `cutoff_len`, leave the longest rows out of the validation set, or train without it: remove "
        "`eval_strategy` and what else asks for an evaluation.",
        zh="验证时只计算一行数据（{tokens} 个词元）仍内存不足：{reason}。最近的正常状态：{kept}。",
        zh_cure="请减小 `cutoff_len`、从验证集中去掉最长的行，或训练时不做验证：去掉 `eval_strategy` "
        "及其他要求验证的设置。",
    ),
}
