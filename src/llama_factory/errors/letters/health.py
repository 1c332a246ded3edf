"""The letters of `trainer` about the health of a run: what was noticed while it went on, and what to change."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    # What was survived, and what was not.
    "trainer.batch-skipped": Letter(
        en="step {step}: loss or gradient norm is {found}, so no update was made of this batch and the next one took "
        "its place. Its rows: {rows}.",
        en_cure="Look at these rows. This was number {number} of the {allowed} that `skip_bad_batch` allows.",
        zh="第 {step} 步的损失或梯度范数为 {found}，未据此批更新权重，由下一批代替。相关数据行：{rows}。",
        zh_cure="请检查这些数据行。`skip_bad_batch` 允许跳过 {allowed} 次，这是第 {number} 次。",
    ),
    "trainer.micro-batch-halved": Letter(
        en="memory ran out in step {step} while {tokens} tokens were computed at a time ({reason}). The step was made "
        "again with at most {now} at a time, and so are the steps from here on; the result is the same.",
        en_cure="Set `micro_batch_tokens: {now}` to save the attempt next time.",
        zh="第 {step} 步一次计算 {tokens} 个词元时内存不足（{reason}）。该步及其后的步骤改为一次最多计算 {now} 个词元，"
        "结果不变。",
        zh_cure="下次可设置 `micro_batch_tokens: {now}`，省去这次尝试。",
    ),
    "trainer.micro-batch-kept": Letter(
        en="memory ran out earlier in this run: at most {tokens} tokens are computed at a time.",
        en_cure="The result does not depend on it. Start anew if the machine has more memory now.",
        zh="本次训练此前出现过内存不足：一次最多计算 {tokens} 个词元。",
        zh_cure="这不影响结果。若机器内存已增加，可重新开始训练。",
    ),
    "trainer.no-memory-for-row": Letter(
        en="memory ran out in step {step} with one row alone ({rows}, {tokens} tokens): {reason}. The last good state: "
        "{kept}.",
        en_cure="Set `gradient_checkpointing: true`, lower `cutoff_len`, take this row out, or train fewer weights "
        "(`finetuning_type: lora`) or a smaller model.",
        zh="第 {step} 步只计算一行数据（{rows}，{tokens} 个词元）时内存不足：{reason}。最近的正常状态：{kept}。",
        zh_cure="请设置 `gradient_checkpointing: true`、减小 `cutoff_len`、去掉该行，或减少训练的权重"
        "（`finetuning_type: lora`）、换用更小的模型。",
    ),
}
