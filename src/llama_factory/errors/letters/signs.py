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
        "again with at most {now} at a time, and so are those from here on. This changes speed, not what is learned.",
        en_cure="Set `micro_batch_tokens: {now}` to save the attempt next time.",
        zh="第 {step} 步一次计算 {tokens} 个词元时内存不足（{reason}）。该步及其后的步骤改为一次最多计算 {now} 个词元，"
        "这只影响速度，不影响学到的内容。",
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
    "trainer.no-memory-for-update": Letter(
        en="memory ran out in the update of step {step}, for the state of `{optimizer}`: {reason}. Nothing is saved of "
        "a half-made update. The last good state: {kept}.",
        en_cure="Take an optimizer that keeps less (`optim: adafactor` or `adamw_8bit`), or train fewer weights "
        "(`finetuning_type: lora`). Smaller batches help little.",
        zh="第 {step} 步更新权重时内存不足，无法容纳 `{optimizer}` 的状态：{reason}。未完成的更新不会保存。"
        "最近的正常状态：{kept}。",
        zh_cure="请使用占用更少的优化器（`optim: adafactor` 或 `adamw_8bit`），或减少训练的权重"
        "（`finetuning_type: lora`）。减小批次作用不大。",
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
    # The machine and the losses, with the limits of the tutorial's table.
    "trainer.low-use": Letter(
        en="the {device} was used only to {percent} % in the steps of the last {lines} log lines ({threads} threads of "
        "torch; above {limit} % is usual).",
        en_cure="Raise `micro_batch_tokens`, which changes speed and memory alone, or `per_device_train_batch_size`.",
        zh="最近 {lines} 次记录的训练步中，{device} 利用率仅为 {percent} %（torch 使用 {threads} 个线程；"
        "通常应高于 {limit} %）。",
        zh_cure="请增大 `micro_batch_tokens`（只影响速度与内存），或增大 `per_device_train_batch_size`。",
    ),
    "trainer.memory-tight": Letter(
        en="memory was at {percent} % ({gb} GB), above {limit} % for {lines} log lines in a row.",
        en_cure="Give `gradient_checkpointing: true`; if it is on, lower `micro_batch_tokens` or `cutoff_len`.",
        zh="内存使用率为 {percent} %（{gb} GB），已连续 {lines} 次记录高于 {limit} %。",
        zh_cure="请设置 `gradient_checkpointing: true`；若已启用，请减小 `micro_batch_tokens` 或 `cutoff_len`。",
    ),
    "trainer.loss-not-falling": Letter(
        en="the training loss has not fallen: {first} over the first {lines} log lines, {last} over the last {lines}, "
        "at step {step}.",
        en_cure="Change `learning_rate` ({rate}): a loss that jumps wants a lower one, a smooth one a higher one. "
        "If it was low from the start, the model knows these rows already.",
        zh="训练损失没有下降：前 {lines} 次记录平均为 {first}，到第 {step} 步时最近 {lines} 次平均为 {last}。",
        zh_cure="请调整 `learning_rate`（{rate}）：损失跳动时应降低，平稳时应提高。"
        "若一开始就很低，则模型已掌握这些数据。",
    ),
    "trainer.overfitting": Letter(
        en="the validation loss rises while the training loss falls: {best} at step {best_step}, {now} at step {step} "
        "(training {train_then}, now {train_now}). What is learned now does not hold for other rows.",
        en_cure="Give `early_stopping: true` to keep the best weights, fewer epochs, or more rows.",
        zh="训练损失下降而验证损失上升：第 {best_step} 步为 {best}，第 {step} 步为 {now}"
        "（训练损失由 {train_then} 变为 {train_now}）。此时学到的内容不能推广到其他数据。",
        zh_cure="请设置 `early_stopping: true` 以保留最好的权重，或减少轮数、增加数据。",
    ),
    # The machine.
    "trainer.slower-swapping": Letter(
        en="training became slower: {now} tokens/s at step {step}, where this run had {best}. {gb} GB of it lie on the "
        "disk instead of in memory.",
        en_cure="End other programs that need memory, or lower `micro_batch_tokens`, or give "
        "`gradient_checkpointing: true`.",
        zh="训练变慢：第 {step} 步时每秒 {now} 个词元，此前曾达 {best}。有 {gb} GB 被换出到磁盘。",
        zh_cure="请结束其他占用内存的程序，或减小 `micro_batch_tokens`，或设置 `gradient_checkpointing: true`。",
    ),
    "trainer.slower-shared": Letter(
        en="training became slower: {now} tokens/s at step {step}, where this run had {best}. It gets {cpu} % of its "
        "processors, then {then} %, and none is free: other programs compute.",
        en_cure="End them, or wait: the result does not depend on it.",
        zh="训练变慢：第 {step} 步时每秒 {now} 个词元，此前曾达 {best}。它获得的处理器时间为 {cpu} %（此前 {then} %），"
        "且没有空闲处理器：有其他程序在计算。",
        zh_cure="请结束那些程序，或继续等待：结果不受影响。",
    ),
    "trainer.slower": Letter(
        en="training became slower: {now} tokens/s at step {step}, where this run had {best}, with {cpu} % of its "
        "processors used (then {then} %).",
        en_cure="If rows did not become shorter or longer, look at the clock of the processor (heat, power saving) and "
        "at the disk. The result does not depend on it.",
        zh="训练变慢：第 {step} 步时每秒 {now} 个词元，此前曾达 {best}，处理器利用率为 {cpu} %（此前 {then} %）。",
        zh_cure="若数据行的长度没有明显变化，请检查处理器频率（过热、节能）和磁盘。结果不受影响。",
    ),
    # Losses, gradients, updates.
    "trainer.loss-spike": Letter(
        en="the loss jumped at step {step}: {loss}, where {usual} was usual. The rows that lifted it most, each with "
        "its own loss: {rows}.",
        en_cure="Look at these rows. If they are as they should be and it happens again, lower `learning_rate` or "
        "`max_grad_norm`, or raise `gradient_accumulation_steps`.",
        zh="第 {step} 步的损失突然升高：{loss}，而此前通常为 {usual}。影响最大的数据行及其各自的损失：{rows}。",
        zh_cure="请检查这些数据行。若数据无误而情况再次出现，请降低 `learning_rate` 或 `max_grad_norm`，"
        "或增大 `gradient_accumulation_steps`。",
    ),
    "trainer.known-before": Letter(
        en="the loss of the first {steps} steps was below {highest} before anything was learned.",
        en_cure="Look whether the answers stand in the prompts already, or whether the model was trained on these rows "
        "before: there is little to learn from them.",
        zh="前 {steps} 步的损失在尚未学到任何内容时就低于 {highest}。",
        zh_cure="请检查提问中是否已含有答案，或模型此前是否已用这些数据训练过：从中已学不到多少内容。",
    ),
    "trainer.gradient-grows": Letter(
        en="the gradient grows while the loss does not fall: its norm is {norm} over the last {steps} steps at step "
        "{step}, and was {then}.",
        en_cure="Lower `learning_rate`, or lengthen the warm-up (`warmup_ratio: 0.1`).",
        zh="损失没有下降而梯度不断增大：到第 {step} 步，最近 {steps} 步的梯度范数为 {norm}，最初为 {then}。",
        zh_cure="请降低 `learning_rate`，或延长预热（`warmup_ratio: 0.1`）。",
    ),
    "trainer.gradient-always-cut": Letter(
        en="nearly every gradient is cut to less than a tenth: the norm is {norm} over the last {steps} steps at step "
        "{step}, and `max_grad_norm` is {limit}.",
        en_cure="Large batches and small ones then count alike. Raise `max_grad_norm`, or look for rows that are "
        "unlike the others.",
        zh="几乎每一步的梯度都被裁剪到不足十分之一：到第 {step} 步，最近 {steps} 步的梯度范数为 {norm}，"
        "而 `max_grad_norm` 为 {limit}。",
        zh_cure="这样各批次的梯度大小不再有区别。请增大 `max_grad_norm`，或检查是否有异常的数据行。",
    ),
    "trainer.updates-lost": Letter(
        en="{percent} % of the weights did not change in the update of step {step}: at a learning rate of {rate}, bf16 "
        "rounds such small updates away.",
        en_cure="Leave out `pure_bf16`, so that fp32 masters keep them, or raise `learning_rate`.",
        zh="第 {step} 步更新后，{percent} % 的权重没有变化：学习率为 {rate} 时，bf16 会将如此小的更新舍去。",
        zh_cure="请去掉 `pure_bf16`（以 fp32 主权重保留更新），或提高 `learning_rate`。",
    ),
    "trainer.updates-vanish": Letter(
        en="updates vanish: at step {step} the weights moved by {size} of their size, below {limit} "
        "(learning rate {rate}).",
        en_cure="Raise `learning_rate`, or take another `optim`.",
        zh="更新量过小：第 {step} 步权重的相对变化仅为 {size}，低于 {limit}（学习率 {rate}）。",
        zh_cure="请提高 `learning_rate`，或换用其他 `optim`。",
    ),
}
