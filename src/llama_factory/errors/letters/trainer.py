"""The letters of `trainer`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    # Stopped on request.
    "trainer.interrupted": Letter(
        en="{signal}: stopped after step {step} of {total}. All of it is saved in {kept}.",
        en_cure="Give the same command with `resume_from_checkpoint=true` to go on from there.",
        zh="{signal}：已在第 {step} 步（共 {total} 步）后停止，全部进度保存在 {kept}。",
        zh_cure="在同一命令后加上 `resume_from_checkpoint=true` 即可从该处继续。",
    ),
    "trainer.interrupted-unsaved": Letter(
        en="{signal}: stopped after step {step} of {total}. No checkpoint was saved ({kept}).",
        en_cure="Give the same command again to start anew.",
        zh="{signal}：已在第 {step} 步（共 {total} 步）后停止，没有保存检查点（{kept}）。",
        zh_cure="重新执行同一命令即可重新开始。",
    ),
    "trainer.left-at-once": Letter(
        en="stopped at once on the second signal, after step {step}. The last whole checkpoint: {kept}.",
        en_cure="Give the same command with `resume_from_checkpoint=true` to go on from it; "
        "the steps after it are made again.",
        zh="收到第二个信号，在第 {step} 步后立即停止。最近的完整检查点：{kept}。",
        zh_cure="在同一命令后加上 `resume_from_checkpoint=true` 即可从该检查点继续，其后的步骤会重新训练。",
    ),
    "trainer.stopped-early": Letter(
        en="stopped early after step {step} of {total}: {waited} evaluations in a row gave no better `{metric}` than "
        "{best} at step {best_step}.",
        en_cure="Raise `early_stopping_patience` to train longer.",
        zh="在第 {step} 步（共 {total} 步）后提前停止：连续 {waited} 次评估的 `{metric}` 都不优于"
        "第 {best_step} 步的 {best}。",
        zh_cure="如需训练更久，请增大 `early_stopping_patience`。",
    ),
    "trainer.best-published": Letter(
        en="the result has the weights of step {step}, the best of the run: {metric} {value}.",
        en_cure="Give `load_best_model_at_end: false` to get the last ones instead.",
        zh="结果采用第 {step} 步的权重，为本次训练中最好的：{metric} {value}。",
        zh_cure="如需最后一步的权重，请设置 `load_best_model_at_end: false`。",
    ),
    "trainer.best-put-away": Letter(
        en="this folder holds the best weights of an earlier run. It is kept as {moved}.",
        en_cure="Delete it if you no longer need it.",
        zh="该文件夹中是先前一次训练的最佳权重，已改名保留为 {moved}。",
        zh_cure="若不再需要，可将其删除。",
    ),
    # Numbers that no update may be made of.
    "trainer.loss-not-finite": Letter(
        en="the loss of step {step} is {found}, and no update was made of it. Its rows: {rows}.",
        en_cure="Look at these rows; then lower `learning_rate` or give `bf16: false`. Last good state: {kept}.",
        zh="第 {step} 步的损失为 {found}，未据此更新权重。相关数据行：{rows}。",
        zh_cure="请检查这些数据行；然后降低 `learning_rate` 或设置 `bf16: false`。最近的正常状态：{kept}。",
    ),
    "trainer.gradient-not-finite": Letter(
        en="the gradient norm of step {step} is {found} (first in {parameter}), and no update was made of it. "
        "Its rows: {rows}.",
        en_cure="Look at these rows; then lower `learning_rate` or give `bf16: false`. Last good state: {kept}.",
        zh="第 {step} 步的梯度范数为 {found}（首先出现在 {parameter}），未据此更新权重。相关数据行：{rows}。",
        zh_cure="请检查这些数据行；然后降低 `learning_rate` 或设置 `bf16: false`。最近的正常状态：{kept}。",
    ),
    "trainer.gradient-zero": Letter(
        en="the gradient of step {step} is exactly 0 (loss {loss}): nothing is being learned. Its rows: {rows}.",
        en_cure="Check that the trained modules are used by the model (`lora_target`, `freeze_trainable_modules`) and "
        "that the rows have answers. Last good state: {kept}.",
        zh="第 {step} 步的梯度恰好为 0（损失 {loss}）：模型没有学到任何内容。相关数据行：{rows}。",
        zh_cure="请确认被训练的模块确实参与计算（`lora_target`、`freeze_trainable_modules`），且数据行含有回答。"
        "最近的正常状态：{kept}。",
    ),
    "trainer.nothing-learned": Letter(
        en="step {step} was made at a learning rate of {rate}, and not one trained number has changed.",
        en_cure="Raise `learning_rate`, leave out `pure_bf16` or take another `optim`. If it happens all the same, "
        "please report it with the configuration. Last good state: {kept}.",
        zh="第 {step} 步以学习率 {rate} 完成，但没有任何可训练的数值发生变化。",
        zh_cure="请提高 `learning_rate`、去掉 `pure_bf16` 或换用其他 `optim`。若仍然如此，请连同配置一起报告。"
        "最近的正常状态：{kept}。",
    ),
    "trainer.only-rested": Letter(
        en="the run ended after step {step}, and `{optimizer}` moves nothing in its first steps: nothing was trained.",
        en_cure="Make more steps (`num_train_epochs` or `max_steps`), or take another `optim`.",
        zh="训练在第 {step} 步结束，而 `{optimizer}` 在最初几步不更新任何权重：什么也没有训练。",
        zh_cure="请增加步数（`num_train_epochs` 或 `max_steps`），或换用其他 `optim`。",
    ),
    "trainer.not-reached": Letter(
        en="no gradient came to {count} of the {total} trained tensors; the first is {first}.",
        en_cure="Usual for experts that no token of this batch was sent to. Otherwise the model does not use them: "
        "leave them out of `lora_target` or `freeze_trainable_modules`.",
        zh="{total} 个被训练的张量中有 {count} 个没有得到梯度；第一个是 {first}。",
        zh_cure="对于这一批词元没有分配到的专家，这是正常的。否则说明模型没有用到它们："
        "请将其从 `lora_target` 或 `freeze_trainable_modules` 中去掉。",
    ),
    "trainer.weights-not-finite": Letter(
        en="after step {step} a trained weight is no longer a finite number. It was not saved.",
        en_cure="Lower `learning_rate` and go on from the last good state: {kept}.",
        zh="第 {step} 步之后有权重不再是有限数值，未予保存。",
        zh_cure="请降低 `learning_rate`，并从最近的正常状态继续：{kept}。",
    ),
    "trainer.nothing-to-learn": Letter(
        en="nothing to learn from in step {step}: weights of `{term}` add up to 0 or are not finite. Rows: {rows}.",
        en_cure="Remove these rows, or give them an answer that is trained.",
        zh="第 {step} 步没有可学习的内容：`{term}` 的权重之和为 0 或不是有限数值。数据行：{rows}。",
        zh_cure="请删除这些数据行，或为其提供参与训练的回答。",
    ),
    "trainer.nothing-to-evaluate": Letter(
        en="the validation rows have nothing to be judged on: no token of them is trained.",
        en_cure="Give `eval_dataset` rows with answers, or set `eval_strategy: no`.",
        zh="验证数据没有可评估的内容：其中没有参与训练的词元。",
        zh_cure="请为 `eval_dataset` 提供含有回答的数据行，或设置 `eval_strategy: no`。",
    ),
    "trainer.evaluation-not-finite": Letter(
        en="the evaluation after step {step} gave {name} = {found}.",
        en_cure="Training goes on. Look at the validation rows and at `learning_rate`.",
        zh="第 {step} 步后的评估得到 {name} = {found}。",
        zh_cure="训练继续进行。请检查验证数据行和 `learning_rate`。",
    ),
    # What cannot be trained.
    "trainer.nothing-trainable": Letter(
        en="no weight of the model is trainable.",
        en_cure="Check `finetuning_type`, `lora_target` and `freeze_trainable_layers`.",
        zh="模型中没有可训练的权重。",
        zh_cure="请检查 `finetuning_type`、`lora_target` 和 `freeze_trainable_layers`。",
    ),
    "trainer.half-weights": Letter(
        en="this weight would be trained in fp16, where small gradients become 0.",
        en_cure="Give `bf16: true`, or `fp16: false`.",
        zh="该权重将以 fp16 训练，较小的梯度会变为 0。",
        zh_cure="请设置 `bf16: true` 或 `fp16: false`。",
    ),
    # Checkpoints.
    "trainer.other-run": Letter(
        en="this checkpoint belongs to another run ({differences}).",
        en_cure="Choose another `output_dir`, or give `overwrite_output_dir: true` to delete it and start anew.",
        zh="该检查点属于另一次运行（{differences}）。",
        zh_cure="请另选 `output_dir`，或设置 `overwrite_output_dir: true` 以删除它并重新开始。",
    ),
    "trainer.other-settings": Letter(
        en="this checkpoint was made with other settings ({differences}).",
        en_cure="Give `resume_from_checkpoint: true` to go on with the new ones, `overwrite_output_dir: true` to "
        "delete it and start anew, or choose another `output_dir`.",
        zh="该检查点使用了不同的设置（{differences}）。",
        zh_cure="设置 `resume_from_checkpoint: true` 以新设置继续，设置 `overwrite_output_dir: true` 以删除它并重新"
        "开始，或另选 `output_dir`。",
    ),
    "trainer.settings-changed": Letter(
        en="settings differ from those of the checkpoint ({differences}).",
        en_cure="The run goes on with the new ones, as `resume_from_checkpoint` asks.",
        zh="设置与检查点中的不同（{differences}）。",
        zh_cure="按 `resume_from_checkpoint` 的要求，以新设置继续训练。",
    ),
    "trainer.folder-taken": Letter(
        en="the folder holds another run, and nothing was written over it.",
        en_cure="Choose another `output_dir`, or give `overwrite_output_dir: true` to delete it and start anew.",
        zh="该文件夹中已有另一次运行，未做任何覆盖。",
        zh_cure="请另选 `output_dir`，或设置 `overwrite_output_dir: true` 以删除它并重新开始。",
    ),
    "trainer.not-a-checkpoint": Letter(
        en="expected a checkpoint of this program (with `trainer_state.json`), found none.",
        en_cure="Give a folder `checkpoint-N` to `resume_from_checkpoint`, or `true` for the newest one.",
        zh="应为本程序生成的检查点（含 `trainer_state.json`），但未找到。",
        zh_cure="请将 `resume_from_checkpoint` 设为某个 `checkpoint-N` 文件夹，或设为 `true` 使用最新的检查点。",
    ),
    "trainer.no-whole-checkpoint": Letter(
        en="there are checkpoints, but none of them is whole: {reason}",
        en_cure="Bring a whole one back, or give `overwrite_output_dir: true` to start anew.",
        zh="存在检查点，但没有一个是完整的：{reason}",
        zh_cure="请恢复一个完整的检查点，或设置 `overwrite_output_dir: true` 重新开始。",
    ),
    "trainer.no-checkpoint-yet": Letter(
        en="no checkpoint is there to go on from.",
        en_cure="The run starts at step 0.",
        zh="没有可供继续的检查点。",
        zh_cure="从第 0 步开始训练。",
    ),
    "trainer.checkpoint-skipped": Letter(
        en="this checkpoint is not whole and is passed over: {reason}",
        en_cure="An older one is used; this one is kept as {moved}.",
        zh="该检查点不完整，已跳过：{reason}",
        zh_cure="改用更早的检查点；该检查点保留为 {moved}。",
    ),
    "trainer.superseded": Letter(
        en="this checkpoint is newer than the one that the run goes on from. It is kept as {moved}.",
        en_cure="Delete it if you no longer need it.",
        zh="该检查点比继续训练所用的更新，已改名保留为 {moved}。",
        zh_cure="若不再需要，可将其删除。",
    ),
    "trainer.other-format": Letter(
        en="expected a checkpoint of format {expected}, found format {found}.",
        en_cure="Resume it with the version of this program that wrote it.",
        zh="应为第 {expected} 版检查点格式，实际为第 {found} 版。",
        zh_cure="请使用写入它的程序版本继续训练。",
    ),
    "trainer.other-parameters": Letter(
        en="the checkpoint and this run train different weights: {count} differ, the first is {first}.",
        en_cure="Give the `finetuning_type`, `lora_rank`, `lora_target` ... that the checkpoint was made with.",
        zh="检查点与本次运行训练的权重不同：有 {count} 处差异，第一个是 {first}。",
        zh_cure="请使用生成该检查点时的 `finetuning_type`、`lora_rank`、`lora_target` 等设置。",
    ),
    "trainer.resumed": Letter(
        en="resumed at step {step} of {total}, epoch {epoch}.",
        en_cure="Logs are cut back to this step.",
        zh="从第 {step} 步（共 {total} 步，第 {epoch} 轮）继续训练。",
        zh_cure="日志已截回到该步。",
    ),
    "trainer.nothing-left": Letter(
        en="nothing is left to do: step {step} of {total} (epoch {epoch}) was reached before.",
        en_cure="Raise `num_train_epochs` or `max_steps` to train on.",
        zh="没有剩余的训练步骤：此前已到达第 {step} 步（共 {total} 步，第 {epoch} 轮）。",
        zh_cure="如需继续训练，请增大 `num_train_epochs` 或 `max_steps`。",
    ),
    "trainer.other-length": Letter(
        en="the run was planned for {then} steps and now has {now}.",
        en_cure="The learning rate follows the schedule of the new length from here on.",
        zh="该运行原计划 {then} 步，现为 {now} 步。",
        zh_cure="此后的学习率按新的长度计算。",
    ),
    "trainer.observer-failed": Letter(
        en="{name} failed and is switched off: {reason}",
        en_cure="Training goes on without it.",
        zh="{name} 出错，已停用：{reason}",
        zh_cure="训练继续进行，不再使用它。",
    ),
    "trainer.log-name-taken": Letter(
        en="this file is not a link of ours and was left alone; the log of this run is {log}.",
        en_cure="Rename it, and the next run puts a link to its log there.",
        zh="该文件不是本程序建立的链接，未作改动；本次训练的日志为 {log}。",
        zh_cure="将其改名后，下次训练会在此处建立指向日志的链接。",
    ),
    # Our own faults.
    "trainer.unknown-terms": Letter(
        en="an objective returned the terms {found}, and the step has counts for {counted}.",
        en_cure="This is a fault of the recipe; please report it.",
        zh="目标函数返回了 {found}，而该步只有 {counted} 的计数。",
        zh_cure="这是训练方案的缺陷，请反馈。",
    ),
    "trainer.counts-differ": Letter(
        en="the step promised a count of {promised} for `{term}`, its micro-batches add up to {found}.",
        en_cure="This is a fault of the source or the objective; please report it.",
        zh="该步为 `{term}` 给出的计数为 {promised}，而各微批次之和为 {found}。",
        zh_cure="这是数据源或目标函数的缺陷，请反馈。",
    ),
    "trainer.nothing-to-save": Letter(
        en="a checkpoint was asked for before the weights were loaded.",
        en_cure="This is a fault of the recipe; please report it.",
        zh="在加载权重之前就要求保存检查点。",
        zh_cure="这是训练方案的缺陷，请反馈。",
    ),
    "trainer.other-parameters-inside": Letter(
        en="saved values and trained weights have different names.",
        en_cure="This is a fault of this program; please report it.",
        zh="保存的数值与被训练的权重名称不同。",
        zh_cure="这是本程序的缺陷，请反馈。",
    ),
}
