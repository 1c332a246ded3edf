"""The letters of `config`: a file that cannot be read, a key that is wrong, keys that contradict each other."""

from __future__ import annotations

from llama_factory.errors.letters import vocabulary
from llama_factory.errors.letters.letter import Letter

_FILES: dict[str, Letter] = {
    "config.no-file": Letter(
        en="expected a configuration file, found nothing there.",
        en_cure="Check the path. `llamafactory-cli init` writes a commented file to start from.",
        zh="应为配置文件，但该路径不存在。",
        zh_cure="请检查路径。`llamafactory-cli init` 可生成带注释的配置文件。",
    ),
    "config.no-file-near": Letter(
        en="expected a configuration file, found nothing there.",
        en_cure="Did you mean `{nearest}`?",
        zh="应为配置文件，但该路径不存在。",
        zh_cure="您是否想写 `{nearest}`？",
    ),
    "config.not-a-file": Letter(
        en="expected a configuration file, found a folder or a device.",
        en_cure="Name the .yaml, .yml or .json file itself.",
        zh="应为配置文件，实际为文件夹或设备。",
        zh_cure="请写出 .yaml、.yml 或 .json 文件本身的路径。",
    ),
    "config.unreadable": Letter(
        en="the file cannot be read: {problem}.",
        en_cure="Check its permissions, then give the same command again.",
        zh="无法读取该文件：{problem}。",
        zh_cure="请检查文件权限，然后重新执行同一命令。",
    ),
    "config.suffix": Letter(
        en="expected a file that ends in .yaml, .yml or .json, found `{found}`.",
        en_cure="Name the configuration file, or give it one of these endings.",
        zh="配置文件应以 .yaml、.yml 或 .json 结尾，实际为 `{found}`。",
        zh_cure="请写出配置文件的路径，或改用上述后缀。",
    ),
    "config.too-large": Letter(
        en="a configuration has at most {limit}, this one has more.",
        en_cure="Is it the right file? Data belongs into a data set, not into the configuration.",
        zh="配置文件上限为 {limit}，此文件超出。",
        zh_cure="请确认文件是否正确。数据应放入数据集，而非配置文件。",
    ),
    "config.not-utf8": Letter(
        en="expected text in UTF-8, found the byte {found}.",
        en_cure="Save the file as UTF-8 in your editor.",
        zh="应为 UTF-8 文本，实际遇到字节 {found}。",
        zh_cure="请在编辑器中将文件另存为 UTF-8。",
    ),
    "config.yaml-broken": Letter(
        en="this is not YAML: {problem}.",
        en_cure="Look at this line and the one before: a colon needs a space after it, quotes come in pairs, "
        "keys of one level start in one column.",
        zh="YAML 语法错误：{problem}。",
        zh_cure="请检查该行及上一行：冒号后需有空格，引号需成对，同级的键需对齐。",
    ),
    "config.yaml-tab": Letter(
        en="found a tab where YAML wants spaces.",
        en_cure="Replace the tab with spaces.",
        zh="此处为制表符，而 YAML 只接受空格。",
        zh_cure="请将制表符换成空格。",
    ),
    "config.yaml-tag": Letter(
        en="found the tag `{found}`; a configuration holds plain values only.",
        en_cure="Remove the tag and write the value itself.",
        zh="遇到标签 `{found}`；配置只能含普通值。",
        zh_cure="请删除标签，直接写值。",
    ),
    "config.json-broken": Letter(
        en="this is not JSON: {problem}.",
        en_cure="Look at this line and the one before: keys stand in double quotes, no comma before a closing bracket.",
        zh="JSON 语法错误：{problem}。",
        zh_cure="请检查该行及上一行：键需用双引号，右括号前不能有逗号。",
    ),
    "config.too-deep": Letter(
        en="the values are nested more than {limit} levels deep.",
        en_cure="A configuration is flat: write `key: value` lines.",
        zh="嵌套超过 {limit} 层。",
        zh_cure="配置是平铺的：请逐行写 `键: 值`。",
    ),
    "config.not-mapping": Letter(
        en="expected lines of the form `key: value`, found {found}.",
        en_cure="Write one key on each line, a colon, a space and its value.",
        zh="应为 `键: 值` 形式的行，实际为 {found}。",
        zh_cure="请每行写一个键、冒号、空格和值。",
    ),
    "config.not-a-key": Letter(
        en="expected the name of a key, found {found}.",
        en_cure="Write a key's name before the colon.",
        zh="应为键名，实际为 {found}。",
        zh_cure="请在冒号前写键名。",
    ),
}

_KEYS: dict[str, Letter] = {
    "config.duplicate-key": Letter(
        en="`{key}` stands here again; it was given at {first} already.",
        en_cure="Keep one of the two lines.",
        zh="`{key}` 重复出现；已在 {first} 给出。",
        zh_cure="请只保留其中一行。",
    ),
    "config.two-spellings": Letter(
        en="`{second}` and `{first}` (at {other}) are two spellings of one key, `{key}`.",
        en_cure="Keep one of the two lines.",
        zh="`{second}` 与 `{first}`（位于 {other}）是同一个键 `{key}` 的两种写法。",
        zh_cure="请只保留其中一行。",
    ),
    "config.unknown-key": Letter(
        en="`{key}` is not a key of this program.",
        en_cure="Remove the line; `llamafactory-cli init` writes a file with the common keys.",
        zh="`{key}` 不是本程序的键。",
        zh_cure="请删除该行；`llamafactory-cli init` 可生成含常用键的文件。",
    ),
    "config.unknown-key-near": Letter(
        en="`{key}` is not a key of this program.",
        en_cure="Did you mean `{nearest}`?",
        zh="`{key}` 不是本程序的键。",
        zh_cure="您是否想写 `{nearest}`？",
    ),
    "config.wrong-value": Letter(
        en="expected `{key}` to be {expected}, found {found}.",
        en_cure="Correct the value; `llamafactory-cli explain {key}` says what it does.",
        zh="`{key}` 应为 {expected}，实际为 {found}。",
        zh_cure="请更正该值；`llamafactory-cli explain {key}` 说明其作用。",
    ),
    "config.wrong-value-near": Letter(
        en="expected `{key}` to be {expected}, found {found}.",
        en_cure="Did you mean `{nearest}`?",
        zh="`{key}` 应为 {expected}，实际为 {found}。",
        zh_cure="您是否想写 `{nearest}`？",
    ),
    "config.planned-value": Letter(
        en="`{key}: {found}` is known and not built yet.",
        en_cure="Today `{key}` can be `{expected}`.",
        zh="`{key}: {found}` 属于已知但尚未实现的功能。",
        zh_cure="目前 `{key}` 可为 `{expected}`。",
    ),
    "config.word": Letter(
        en="expected `key=value` or `--key value`, found `{found}`.",
        en_cure="Write the key and its value; put quotes around a value that has spaces.",
        zh="应为 `key=value` 或 `--key value`，实际为 `{found}`。",
        zh_cure="请写出键和值；含空格的值需加引号。",
    ),
    "config.word-without-value": Letter(
        en="`--{key}` stands without a value.",
        en_cure="Write `--{key} VALUE`, where VALUE is `{expected}`.",
        zh="`--{key}` 缺少值。",
        zh_cure="请写 `--{key} 值`，值为 `{expected}`。",
    ),
    "config.no-pickle": Letter(
        en="`{key}: {found}` asks for weights in .bin files. These are pickles, which can run code when opened.",
        en_cure="Remove the line: safetensors files are written, and every current program reads them.",
        zh="`{key}: {found}` 要求写出 .bin 权重。该格式为 pickle，打开时可能执行代码。",
        zh_cure="请删除该行：权重写为 safetensors，现有程序均可读取。",
    ),
    "config.missing": Letter(
        en="`{command}` needs `{key}`, and it is not given.",
        en_cure="Add a line such as `{key}: {example}`.",
        zh="`{command}` 需要 `{key}`，但未给出。",
        zh_cure="请添加一行，例如 `{key}: {example}`。",
    ),
    "config.nothing-to-do": Letter(
        en="`do_train: false` leaves the train command nothing to do.",
        en_cure="Write `do_train: true`, or use `llamafactory-cli chat` or `export` with the same file.",
        zh="`do_train: false` 使 train 命令无事可做。",
        zh_cure="请写 `do_train: true`，或用同一文件执行 `llamafactory-cli chat` 或 `export`。",
    ),
    "config.alias": Letter(
        en="`{found}` is read as `{key}`.",
        en_cure="Nothing to do; both spellings work.",
        zh="`{found}` 按 `{key}` 处理。",
        zh_cure="无需处理，两种写法均可。",
    ),
}

_TOGETHER: dict[str, Letter] = {
    "config.two-precisions": Letter(
        en="`{first}` and `{second}` contradict each other.",
        en_cure="Keep one of them, or none: bf16 is used where the machine computes in it.",
        zh="`{first}` 与 `{second}` 相互矛盾。",
        zh_cure="请只保留一个，或都不写：机器支持时会自动使用 bf16。",
    ),
    "config.two-validations": Letter(
        en="`val_size` and `eval_dataset` are both given: the validation rows would come from two places.",
        en_cure="Keep `eval_dataset` to validate on your own file, or `val_size` to keep back a part of `dataset`.",
        zh="同时给出了 `val_size` 与 `eval_dataset`：验证数据来自两处。",
        zh_cure="若用自己的验证文件请保留 `eval_dataset`；若从 `dataset` 划分请保留 `val_size`。",
    ),
    "config.no-validation-data": Letter(
        en="`{key}: {found}` measures validation data, and there is none.",
        en_cure="Add `val_size: 0.1` to keep back a tenth of the rows, or name an `eval_dataset`.",
        zh="`{key}: {found}` 需要验证数据，但未提供。",
        zh_cure="请添加 `val_size: 0.1` 以留出十分之一的数据，或指定 `eval_dataset`。",
    ),
    "config.two-evaluations": Letter(
        en="`do_eval: true` measures the validation data, and `eval_strategy: no` never does.",
        en_cure="Remove one of the two lines; `eval_strategy: epoch` measures after every epoch.",
        zh="`do_eval: true` 要求测量验证数据，而 `eval_strategy: no` 表示从不测量。",
        zh_cure="请删除其中一行；`eval_strategy: epoch` 表示每轮之后测量。",
    ),
    "config.best-never-measured": Letter(
        en="`{key}: true` looks at the validation loss, and `eval_strategy: no` never measures it.",
        en_cure="Remove one of the two lines; `eval_strategy: epoch` measures after every epoch.",
        zh="`{key}: true` 需要验证损失，而 `eval_strategy: no` 表示从不测量。",
        zh_cure="请删除其中一行；`eval_strategy: epoch` 表示每轮之后测量。",
    ),
    "config.best-is-worst": Letter(
        en="`greater_is_better: true` would take the model with the highest `{metric}` for the best one.",
        en_cure="Remove the line: of a loss, less is better.",
        zh="`greater_is_better: true` 会把 `{metric}` 最高的模型当作最佳模型。",
        zh_cure="请删除该行：损失越低越好。",
    ),
    "config.two-warmups": Letter(
        en="`warmup_ratio` and `warmup_steps` are both given.",
        en_cure="Keep the one you mean.",
        zh="同时给出了 `warmup_ratio` 与 `warmup_steps`。",
        zh_cure="请只保留其中一个。",
    ),
    "config.temperature-zero": Letter(
        en="`temperature: 0` leaves nothing to draw, and `do_sample: true` asks to draw.",
        en_cure="Write `do_sample: false` for the likeliest answer, or a temperature above 0.",
        zh="`temperature: 0` 时无从抽取，而 `do_sample: true` 要求抽取。",
        zh_cure="若要概率最高的回答请写 `do_sample: false`，否则请写大于 0 的 temperature。",
    ),
    "config.adapter-without-lora": Letter(
        en="`adapter_name_or_path` puts LoRA adapters on the model, and `finetuning_type: {found}` has none.",
        en_cure="Write `finetuning_type: lora`, or remove `adapter_name_or_path`.",
        zh="`adapter_name_or_path` 会给模型加 LoRA 适配器，而 `finetuning_type: {found}` 不使用适配器。",
        zh_cure="请写 `finetuning_type: lora`，或删除 `adapter_name_or_path`。",
    ),
    "config.nothing-learns": Letter(
        en="`freeze_trainable_layers: 0` without `freeze_extra_modules` leaves no weight that learns.",
        en_cure="Write how many layers learn, for example `freeze_trainable_layers: 2`.",
        zh="`freeze_trainable_layers: 0` 且无 `freeze_extra_modules`，没有任何权重参与训练。",
        zh_cure="请写参与训练的层数，例如 `freeze_trainable_layers: 2`。",
    ),
    "config.same-folder": Letter(
        en="`{key}` is the same folder as `{other}`, which must not be written over.",
        en_cure="Choose another folder for `{key}`.",
        zh="`{key}` 与 `{other}` 是同一文件夹，不可覆盖。",
        zh_cure="请为 `{key}` 另选文件夹。",
    ),
    "config.unused-key": Letter(
        en="`{key}` has no effect with `{other}`.",
        en_cure="Nothing to do; the line may go.",
        zh="在 `{other}` 时，`{key}` 不起作用。",
        zh_cure="无需处理，该行可删除。",
    ),
    "config.never-measured": Letter(
        en="rows are kept back for validation, and `eval_strategy: no` never measures them.",
        en_cure="Write `eval_strategy: steps`, or remove `{key}` to learn from all rows.",
        zh="已留出验证数据，但 `eval_strategy: no` 不会测量。",
        zh_cure="请写 `eval_strategy: steps`，或删除 `{key}` 以使用全部数据训练。",
    ),
    "config.validated-on-training": Letter(
        en="`{found}` is in both `dataset` and `eval_dataset`: the validation loss will measure memory.",
        en_cure="Name other rows in `eval_dataset`, or use `val_size`.",
        zh="`{found}` 同时出现在 `dataset` 与 `eval_dataset` 中：验证损失将只反映记忆。",
        zh_cure="请在 `eval_dataset` 中使用其他数据，或改用 `val_size`。",
    ),
}

_SELDOM_MEANT: dict[str, Letter] = {
    # Found by `audit`: legal, and seldom meant.
    "config.rate-low": Letter(
        en="learning rate {found} is below what is usual for {method} ({low} to {high}).",
        en_cure="The model may hardly change. Raise `learning_rate` unless it is meant.",
        zh="学习率 {found} 低于 {method} 的常用范围（{low} 至 {high}）。",
        zh_cure="模型可能几乎不变。若非本意，请提高 `learning_rate`。",
    ),
    "config.rate-high": Letter(
        en="learning rate {found} is above what is usual for {method} ({low} to {high}).",
        en_cure="The model may forget what it knew, or training may diverge. Lower `learning_rate` unless it is meant.",
        zh="学习率 {found} 高于 {method} 的常用范围（{low} 至 {high}）。",
        zh_cure="模型可能遗忘原有能力，训练也可能发散。若非本意，请降低 `learning_rate`。",
    ),
    "config.rate-stays-zero": Letter(
        en="the run makes one update, in its warm-up ({warmup} steps), and the first rate of a warm-up is 0: "
        "nothing would be learned.",
        en_cure="Set `warmup_ratio: 0` and `warmup_steps: 0`, or make more steps.",
        zh="本次训练只更新一次，且处于预热阶段（{warmup} 步），预热的第一个学习率为 0：什么也学不到。",
        zh_cure="请设置 `warmup_ratio: 0` 和 `warmup_steps: 0`，或增加步数。",
    ),
    "config.warmup-fills-run": Letter(
        en="the warm-up takes {warmup} steps and the run {total}: the learning rate never reaches its height.",
        en_cure="Lower `warmup_steps` or `warmup_ratio`; a tenth of the run is usual.",
        zh="预热需要 {warmup} 步，而训练共 {total} 步：学习率始终达不到设定值。",
        zh_cure="请降低 `warmup_steps` 或 `warmup_ratio`，通常为总步数的十分之一。",
    ),
    "config.few-steps": Letter(
        en="{rows} rows in {epochs} epochs make only {total} optimiser steps; fewer than {few} seldom change a model.",
        en_cure="Lower `gradient_accumulation_steps` or the batch size, raise `num_train_epochs`, or add rows.",
        zh="{rows} 行数据训练 {epochs} 轮只有 {total} 个优化步；少于 {few} 步通常难以改变模型。",
        zh_cure="可减小 `gradient_accumulation_steps` 或批大小、增大 `num_train_epochs`，或增加数据。",
    ),
    "config.by-heart": Letter(
        en="{rows} rows are read {epochs} times each: they may be learned by heart.",
        en_cure="Right for teaching a name; for anything broader use more rows or fewer epochs, and `val_size`.",
        zh="{rows} 行数据每行会读 {epochs} 遍：模型可能只是死记硬背。",
        zh_cure="教模型一个名字时这样合适；其他任务请增加数据或减少轮数，并设置 `val_size`。",
    ),
    "config.save-after-end": Letter(
        en="a checkpoint every {save_steps} steps, but the run has {total}: none is written before its end.",
        en_cure="Lower `save_steps` to be able to go on after a crash. Ctrl-C saves in any case.",
        zh="每 {save_steps} 步保存一次，而训练共 {total} 步：结束之前不会有检查点。",
        zh_cure="若希望崩溃后能够继续，请减小 `save_steps`。按 Ctrl-C 总会保存。",
    ),
}

LETTERS: dict[str, Letter] = {**_FILES, **_KEYS, **_TOGETHER, **vocabulary.WORDS, **_SELDOM_MEANT}
