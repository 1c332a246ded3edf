"""The letters of `apps`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "apps.unknown-command": Letter(
        en="`{found}` is not a command.",
        en_cure="`llamafactory-cli help` lists them.",
        zh="没有 `{found}` 这个命令。",
        zh_cure="`llamafactory-cli help` 列出全部命令。",
    ),
    "apps.unknown-command-near": Letter(
        en="`{found}` is not a command.",
        en_cure="Did you mean `llamafactory-cli {near}`?",
        zh="没有 `{found}` 这个命令。",
        zh_cure="您是否想输入 `llamafactory-cli {near}`？",
    ),
    "apps.planned-command": Letter(
        en="`{found}` is planned and not built yet.",
        en_cure="`llamafactory-cli help` lists what is there today.",
        zh="`{found}` 已列入计划，尚未完成。",
        zh_cure="`llamafactory-cli help` 列出目前可用的命令。",
    ),
    "apps.file-as-command": Letter(
        en="expected a command, found the file `{found}`.",
        en_cure="To train with it: `llamafactory-cli train {found}`.",
        zh="此处应为命令，却是文件 `{found}`。",
        zh_cure="用它训练：`llamafactory-cli train {found}`。",
    ),
    "apps.option-as-command": Letter(
        en="expected a command before `{found}`.",
        en_cure="For training: `llamafactory-cli train {found} ...`. `llamafactory-cli help` lists the commands.",
        zh="`{found}` 之前应有命令。",
        zh_cure="训练请用：`llamafactory-cli train {found} ...`。`llamafactory-cli help` 列出全部命令。",
    ),
    "apps.nothing-given": Letter(
        en="`{command}` was given neither a file nor a key.",
        en_cure="`llamafactory-cli init` writes a file to start from; then `llamafactory-cli {command} train.yaml`.",
        zh="`{command}` 既没有文件，也没有参数。",
        zh_cure="先用 `llamafactory-cli init` 生成一份配置，再运行 `llamafactory-cli {command} train.yaml`。",
    ),
    "apps.too-many-words": Letter(
        en="`{command}` takes {expected}, found `{found}`.",
        en_cure="`llamafactory-cli help {command}` shows how it is called.",
        zh="`{command}` 的参数应为 {expected}，却有 `{found}`。",
        zh_cure="用法见 `llamafactory-cli help {command}`。",
    ),
    "apps.variable-without-effect": Letter(
        en="{variable}={found} has no effect here: what it switches on is planned and not built yet.",
        en_cure="The work goes on without it.",
        zh="{variable}={found} 在此不起作用：对应的功能已列入计划，尚未完成。",
        zh_cure="任务照常进行。",
    ),
    "apps.step-without-data": Letter(
        en="`--step` needs data and model, and `--config-only` leaves both out.",
        en_cure="Give one of the two.",
        zh="`--step` 需要数据和模型，而 `--config-only` 两者都不读取。",
        zh_cure="请只保留其中一个。",
    ),
    "apps.file-exists": Letter(
        en="there is a file already; it was left as it is.",
        en_cure="Name another one: `llamafactory-cli init my.yaml`.",
        zh="文件已存在，未作改动。",
        zh_cure="请换一个名字：`llamafactory-cli init my.yaml`。",
    ),
    "apps.cannot-write": Letter(
        en="cannot be written: {reason}.",
        en_cure="Choose a place that you may write to, with space left.",
        zh="无法写入：{reason}。",
        zh_cure="请选择一个有写权限且有剩余空间的位置。",
    ),
    "apps.unknown-list": Letter(
        en="there is no list of `{found}`.",
        en_cure="The lists are: {known}.",
        zh="没有 `{found}` 列表。",
        zh_cure="可用的列表：{known}。",
    ),
    "apps.init-name": Letter(
        en="expected the name of a YAML file, found `{found}`.",
        en_cure="For instance: `llamafactory-cli init my.yaml`, or `llamafactory-cli init my.yaml full`.",
        zh="此处应为 YAML 文件名，却是 `{found}`。",
        zh_cure="例如 `llamafactory-cli init my.yaml`，或 `llamafactory-cli init my.yaml full`。",
    ),
    "apps.output-lost": Letter(
        en="the output could not be written: {reason}.",
        en_cure="Nothing else was harmed. Free the disk or choose another place for the output.",
        zh="输出无法写入：{reason}。",
        zh_cure="其他内容未受影响。请释放磁盘空间，或把输出写到别处。",
    ),
    "apps.stopped": Letter(
        en="stopped.",
        en_cure="Nothing half-written was left; the same command starts again.",
        zh="已停止。",
        zh_cure="没有留下写了一半的文件；用同一条命令可重新开始。",
    ),
    "apps.question-too-long": Letter(
        en="the question takes {found} tokens, and the model's window holds {window}.",
        en_cure="Ask something shorter.",
        zh="这个问题有 {found} 个词元，而模型的窗口只有 {window} 个。",
        zh_cure="请缩短问题。",
    ),
    "apps.not-text": Letter(
        en="the line is not text in UTF-8.",
        en_cure="Save the questions as UTF-8.",
        zh="这一行不是 UTF-8 文本。",
        zh_cure="请把问题另存为 UTF-8 编码。",
    ),
    "apps.out-of-memory": Letter(
        en="memory ran out: {reason}.",
        en_cure="In training, lower `per_device_train_batch_size` or `cutoff_len`; otherwise take a smaller model.",
        zh="内存不足：{reason}。",
        zh_cure="训练时请减小 `per_device_train_batch_size` 或 `cutoff_len`；否则请换用更小的模型。",
    ),
    "apps.system-refused": Letter(
        en="the system refused: {reason}.",
        en_cure="Check that the place exists, that you may use it and that the disk has space.",
        zh="系统拒绝了操作：{reason}。",
        zh_cure="请检查该位置是否存在、是否有权限、磁盘是否有空间。",
    ),
    "apps.missing-library": Letter(
        en="the library `{library}` is not installed.",
        en_cure="Install it: `{install}`.",
        zh="未安装 `{library}` 库。",
        zh_cure="安装命令：`{install}`。",
    ),
    "apps.our-fault": Letter(
        en="this is a fault of the program: {reason}",
        en_cure="What happened is written in {report}. Please send it along when you tell us.",
        zh="这是程序自身的错误：{reason}",
        zh_cure="详情写在 {report}。反馈时请附上这个文件。",
    ),
}
