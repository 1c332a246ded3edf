"""What is said about optimizers and schedules."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

_CHOICE: dict[str, Letter] = {
    "config.optimizer-other-machine": Letter(
        en="`optim: {found}` is made for another kind of processor than this program drives.",
        en_cure="`adamw_torch` is the same formula, fused.",
        zh="`optim: {found}` 面向本程序不支持的处理器。",
        zh_cure="`adamw_torch` 是同一公式的融合实现。",
    ),
    "config.optimizer-gone": Letter(
        en="`optim: {found}` comes from a package that is not kept up, or that this program does not use.",
        en_cure="Take `adamw_torch` with `max_grad_norm: 1.0`; with little memory `adafactor` or `adamw_8bit`.",
        zh="`optim: {found}` 来自无人维护或本程序未使用的软件包。",
        zh_cure="请使用 `adamw_torch` 并设置 `max_grad_norm: 1.0`；内存紧张时用 `adafactor` 或 `adamw_8bit`。",
    ),
    "config.optimizer-compiles": Letter(
        en="`optim: {found}` compiles a kernel for every shape of a weight before its first step, which takes minutes "
        "where `adamw_8bit` takes none.",
        en_cure="Give `optim: adamw_8bit`.",
        zh="`optim: {found}` 在第一步之前要为每种权重形状编译内核，需要数分钟，而 `adamw_8bit` 无需编译。",
        zh_cure="请使用 `optim: adamw_8bit`。",
    ),
    "config.optimizer-cuda-only": Letter(
        en="`optim: {found}` can run on an NVIDIA GPU only, and its package does not say when it is not on one.",
        en_cure="Give `optim: galore_adamw` (state in a low rank) or `optim: adamw_8bit` (state in 8 bits).",
        zh="`optim: {found}` 只能在 NVIDIA GPU 上运行，且其软件包在其他设备上不会提示。",
        zh_cure="请使用 `optim: galore_adamw`（低秩状态）或 `optim: adamw_8bit`（8 位状态）。",
    ),
    "config.optimizer-in-backward": Letter(
        en="`{found}` updates each weight inside the backward pass: gradients could not be summed over micro-batches, "
        "looked at before the update, or clipped.",
        en_cure="Leave it out. With little memory: `use_galore`, `use_apollo`, `use_badam` or `optim: adafactor`.",
        zh="`{found}` 在反向传播中更新每个权重：梯度无法在微批次间累积，也无法在更新前检查或裁剪。",
        zh_cure="请去掉它。内存紧张时可用 `use_galore`、`use_apollo`、`use_badam` 或 `optim: adafactor`。",
    ),
    "config.two-optimizers": Letter(
        en="`{first}` and `{second}` each choose, and only one can hold.",
        en_cure="Keep one of them.",
        zh="`{first}` 与 `{second}` 各自作出选择，只能保留一个。",
        zh_cure="请只保留其中之一。",
    ),
    "config.optimizer-beside": Letter(
        en="`{key}` brings its own optimizer, and `optim: {found}` asks for another one.",
        en_cure="Beside `{key}` may stand: {known}. Or leave `{key}` out.",
        zh="`{key}` 自带优化器，而 `optim: {found}` 要求另一个。",
        zh_cure="与 `{key}` 同用时可写：{known}；或去掉 `{key}`。",
    ),
    "config.optimizer-on-adapters": Letter(
        en="{found} saves state of whole weight matrices, and `finetuning_type: {method}` trains small ones that have "
        "hardly any.",
        en_cure="Give `finetuning_type: full` (or `freeze`), or keep {method} and give `optim: adamw_torch`.",
        zh="{found} 用于节省完整权重矩阵的优化器状态，而 `finetuning_type: {method}` 训练的小矩阵几乎没有这种状态。",
        zh_cure="请使用 `finetuning_type: full`（或 `freeze`），或保留 {method} 并设置 `optim: adamw_torch`。",
    ),
    "config.muon-on-adapters": Letter(
        en="Muon makes all directions of an update equally large; in the small matrices of `{method}` that moves ones "
        "that the data say nothing about.",
        en_cure="`optim: adamw_torch` is what {method} is usually trained with; keep Muon for `full`.",
        zh="Muon 使更新在各方向上同样大；对于 `{method}` 的小矩阵，这会移动数据未涉及的方向。",
        zh_cure="{method} 通常使用 `optim: adamw_torch`；Muon 适合 `full`。",
    ),
    "config.averaged-without-beta": Letter(
        en="`optim: {found}` trains at a point between the newest weights and their average, and `adam_beta1: 0` "
        "leaves no average.",
        en_cure="Leave `adam_beta1` out (0.9).",
        zh="`optim: {found}` 在最新权重与其平均值之间的点上训练，而 `adam_beta1: 0` 使平均值不存在。",
        zh_cure="请去掉 `adam_beta1`（0.9）。",
    ),
    "config.schedule-free": Letter(
        en="`optim: {found}` averages the weights instead of lowering the rate, and `lr_scheduler_type: {schedule}` "
        "would lower it as well.",
        en_cure="Give `lr_scheduler_type: constant_with_warmup` (or `constant`).",
        zh="`optim: {found}` 以权重平均代替降低学习率，而 `lr_scheduler_type: {schedule}` 会再次降低学习率。",
        zh_cure="请设置 `lr_scheduler_type: constant_with_warmup`（或 `constant`）。",
    ),
    "config.badam-fixed-where": Letter(
        en="`badam_switch_mode: fixed` trains one block only, and none is named.",
        en_cure="Give `badam_start_block`, or another `badam_switch_mode`.",
        zh="`badam_switch_mode: fixed` 只训练一个块，但未指定是哪一个。",
        zh_cure="请设置 `badam_start_block`，或改用其他 `badam_switch_mode`。",
    ),
}

_SETTINGS: dict[str, Letter] = {
    "config.no-such-setting": Letter(
        en="`{key}`: {of} has no setting `{found}`.",
        en_cure="It has: {known}.",
        zh="`{key}`：{of} 没有名为 `{found}` 的设置。",
        zh_cure="可用的设置：{known}。",
    ),
    "config.wrong-setting": Letter(
        en="`{key}`: expected `{expected}` for `{name}`, found {found}.",
        en_cure="Write a value of that form, or leave the setting out.",
        zh="`{key}`：`{name}` 应为 `{expected}`，实际为 {found}。",
        zh_cure="请改为该形式的值，或去掉该设置。",
    ),
    "config.schedule-needs": Letter(
        en="`lr_scheduler_type: {found}` needs exactly one of: {needed}.",
        en_cure="Give it in `lr_scheduler_kwargs`.",
        zh="`lr_scheduler_type: {found}` 需要且仅需要以下之一：{needed}。",
        zh_cure="请在 `lr_scheduler_kwargs` 中给出。",
    ),
    "config.schedule-hears-nothing": Letter(
        en="`lr_scheduler_type: {found}` follows the validation loss, and nothing is evaluated.",
        en_cure="Give `eval_strategy: steps` and `val_size` or `eval_dataset`.",
        zh="`lr_scheduler_type: {found}` 依据验证损失调整，但没有进行评估。",
        zh_cure="请设置 `eval_strategy: steps` 以及 `val_size` 或 `eval_dataset`。",
    ),
    "config.floor-above-rate": Letter(
        en="`lr_scheduler_type: {schedule}` would not go below `{name}` ({found}), which is not below `learning_rate` "
        "({rate}).",
        en_cure="Give a lower `{name}` in `lr_scheduler_kwargs`.",
        zh="`lr_scheduler_type: {schedule}` 的下限 `{name}`（{found}）不低于 `learning_rate`（{rate}）。",
        zh_cure="请在 `lr_scheduler_kwargs` 中给出更低的 `{name}`。",
    ),
}

_MADE: dict[str, Letter] = {
    "machine.no-optimizer-library": Letter(
        en="the optimizer {found} needs the package {library}, which is not installed.",
        en_cure='Install it: `pip install "llama-factory[{extra}]"`, or give `optim: adamw_torch`.',
        zh="优化器 {found} 需要软件包 {library}，但未安装。",
        zh_cure='请安装：`pip install "llama-factory[{extra}]"`，或使用 `optim: adamw_torch`。',
    ),
    "machine.no-paging": Letter(
        en="`optim: {found}` moves its state between a GPU and memory, and this run is on `{device}`.",
        en_cure="Give `optim: {instead}`: the same without pages.",
        zh="`optim: {found}` 在 GPU 与内存之间换页，而本次运行在 `{device}` 上。",
        zh_cure="请使用 `optim: {instead}`：相同算法，不换页。",
    ),
    "trainer.rank-too-large": Letter(
        en="rank {rank} is not smaller than the shorter side of this matrix ({shape}): nothing would be saved.",
        en_cure="Lower `galore_rank` or `apollo_rank` (or `rank` in `optim_args`), or leave the layer out of the "
        "target.",
        zh="秩 {rank} 不小于该矩阵较短的一边（{shape}）：不会节省任何内存。",
        zh_cure="请降低 `galore_rank` 或 `apollo_rank`（或 `optim_args` 中的 `rank`），或从目标层中去掉该层。",
    ),
    "trainer.no-optimizer-target": Letter(
        en="no matrix that is trained belongs to `{found}`.",
        en_cure="Known parts: {known}. Or `all`: every linear layer but the head.",
        zh="被训练的矩阵中没有属于 `{found}` 的。",
        zh_cure="已知的部分：{known}；或写 `all`：除输出头外的所有线性层。",
    ),
    "trainer.no-heads": Letter(
        en="Adam-mini needs the number of heads, and the model's configuration does not tell it (or this tensor is no "
        "matrix).",
        en_cure="Give `optim: adamw_torch`; with little memory `adafactor` or `adamw_8bit`.",
        zh="Adam-mini 需要注意力头数，但模型配置中没有（或该张量不是矩阵）。",
        zh_cure="请使用 `optim: adamw_torch`；内存紧张时用 `adafactor` 或 `adamw_8bit`。",
    ),
    "trainer.no-blocks": Letter(
        en="BAdam trains one layer at a time, and no layer is among the trained weights (or block {block} of {count} "
        "does not exist).",
        en_cure="Train whole layers (`finetuning_type: full` or `freeze`), or lower `badam_start_block`.",
        zh="BAdam 每次训练一层，但被训练的权重中没有层（或共 {count} 块，不存在第 {block} 块）。",
        zh_cure="请训练完整的层（`finetuning_type: full` 或 `freeze`），或减小 `badam_start_block`。",
    ),
    "trainer.block": Letter(
        en="BAdam trains block {block} of {count} now: {names}.",
        en_cure="`badam_verbose: 0` silences this line.",
        zh="BAdam 现在训练第 {block} 块（共 {count} 块）：{names}。",
        zh_cure="`badam_verbose: 0` 可不再提示。",
    ),
    "trainer.other-optimizer-state": Letter(
        en="the optimizer's state in the checkpoint does not fit this optimizer: {reason}.",
        en_cure="Go on with the optimizer and the packages that wrote it, or give `overwrite_output_dir: true` to "
        "start anew.",
        zh="检查点中的优化器状态与当前优化器不符：{reason}。",
        zh_cure="请使用写入它的优化器与软件包继续，或设置 `overwrite_output_dir: true` 重新开始。",
    ),
    "trainer.state-not-plain": Letter(
        en="the optimizer {found} keeps something that is neither a tensor nor a number: {what}.",
        en_cure="This version of its package cannot be saved. Install the version that this program was tested with.",
        zh="优化器 {found} 的状态中有既非张量也非数值的内容：{what}。",
        zh_cure="该版本的软件包无法保存状态，请安装本程序测试过的版本。",
    ),
}

LETTERS: dict[str, Letter] = {**_CHOICE, **_SETTINGS, **_MADE}
