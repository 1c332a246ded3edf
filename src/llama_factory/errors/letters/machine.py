"""The letters of `machine`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "machine.missing-library": Letter(
        en="expected {library} {least} or later, found none.",
        en_cure='pip install "{library}>={least}"',
        zh="应安装 {library} {least} 或更高版本，但未找到。",
        zh_cure='pip install "{library}>={least}"',
    ),
    "machine.old-library": Letter(
        en="expected {library} {least} or later, found {found}.",
        en_cure='pip install -U "{library}>={least}"',
        zh="应安装 {library} {least} 或更高版本，当前为 {found}。",
        zh_cure='pip install -U "{library}>={least}"',
    ),
    "machine.no-cuda": Letter(
        en="expected an NVIDIA GPU that this torch can use, found none.",
        en_cure="Write `device_map: auto` to use what is there, or install a torch built for CUDA and its driver.",
        zh="需要当前 torch 可用的 NVIDIA GPU，但未找到。",
        zh_cure="可写 `device_map: auto` 使用现有设备，或安装支持 CUDA 的 torch 及驱动。",
    ),
    "machine.no-fp16": Letter(
        en="nothing is trained in float16 here; {taken} is used.",
        en_cure="Nothing to do: {taken} holds small gradients that float16 loses without loss scaling.",
        zh="此处不以 float16 训练；已改用 {taken}。",
        zh_cure="无需处理：{taken} 能保留 float16 在没有损失缩放时会丢失的小梯度。",
    ),
    "machine.no-bf16": Letter(
        en="this machine has no bf16 arithmetic; float32 is used: more exact, twice the memory for frozen weights.",
        en_cure="Nothing to do. Write `bf16: false` to silence this line.",
        zh="本机没有 bf16 运算能力；已改用 float32：更精确，但冻结权重占用两倍内存。",
        zh_cure="无需处理。写 `bf16: false` 可不再提示。",
    ),
    "machine.pure-bf16": Letter(
        en="trained weights and optimiser state are kept in bf16: an update smaller than 1/256 of a weight is lost.",
        en_cure="Leave `pure_bf16` out unless memory forces it; if it stays, raise `learning_rate`.",
        zh="被训练的权重与优化器状态以 bf16 保存：小于权重 1/256 的更新会丢失。",
        zh_cure="除非内存所迫，请去掉 `pure_bf16`；若保留，请提高 `learning_rate`。",
    ),
    # Seen by one real step.
    "machine.memory-nearly-full": Letter(
        en="one step with {tokens} tokens held up to {peak}, {share} % of this machine's {ram}. Above 90 % the next "
        "program that is started can end the run.",
        en_cure="Set `gradient_checkpointing: true`, lower `per_device_train_batch_size` (and raise "
        "`gradient_accumulation_steps` as much) or `cutoff_len`; LoRA needs less than `freeze`, `freeze` less than "
        "`full`.",
        zh="一步（{tokens} 个词元）最多占用 {peak}，为本机内存 {ram} 的 {share} %。超过 90 % 时，任何新启动的程序都可能"
        "使训练中断。",
        zh_cure="请设置 `gradient_checkpointing: true`，减小 `per_device_train_batch_size`（同时按比例增大 "
        "`gradient_accumulation_steps`）或 `cutoff_len`；LoRA 比 `freeze` 省内存，`freeze` 比 `full` 省内存。",
    ),
    "machine.no-memory-for-step": Letter(
        en="memory ran out in a step of {rows} rows with {tokens} tokens, the largest batch of this run: {reason}.",
        en_cure="Set `gradient_checkpointing: true`, lower `per_device_train_batch_size` (and raise "
        "`gradient_accumulation_steps` as much) or `cutoff_len`, or take `finetuning_type: lora` or a smaller model.",
        zh="本次训练最大的一批（{rows} 行，{tokens} 个词元）在训练一步时内存不足：{reason}。",
        zh_cure="请设置 `gradient_checkpointing: true`，减小 `per_device_train_batch_size`（同时按比例增大 "
        "`gradient_accumulation_steps`）或 `cutoff_len`，或改用 `finetuning_type: lora` 或更小的模型。",
    ),
    "machine.many-processes": Letter(
        en="{variable}={found} asks for training with several processes, which is not built yet.",
        en_cure="One process would give another result than asked for. Unset {variable} to train that way.",
        zh="{variable}={found} 要求多进程训练，此功能尚未完成。",
        zh_cure="若改为单进程，结果会与您的要求不同，因此没有开始。取消 {variable} 即可单进程训练。",
    ),
}
