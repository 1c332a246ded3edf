"""The letters about layers whose output is kept from one epoch to the next."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "model.nothing-below": Letter(
        en="the output of the frozen layers of {type} was to be kept, but it has none.",
        en_cure="This is a bug of ours. Please report it with the file named below.",
        zh="要求保存 {type} 冻结层的输出，但没有这样的层。",
        zh_cure="这是我们的错误。请附上下方所列文件进行报告。",
    ),
    "config.nothing-to-keep": Letter(
        en="`cache_frozen_layers: true`, but with `{key}: {found}` no layer gives the same for a row in every epoch.",
        en_cure="Leave out `cache_frozen_layers`, or change `{key}`; `finetuning_type: freeze` keeps layers the same.",
        zh="设置了 `cache_frozen_layers: true`，但使用 `{key}: {found}` 时没有各轮输出不变的层。",
        zh_cure="请去掉 `cache_frozen_layers`，或更改 `{key}`；`finetuning_type: freeze` 时有不变的层。",
    ),
    "model.nothing-to-keep": Letter(
        en="`cache_frozen_layers: true`, but no first layers of this {found} give the same for a row in every epoch.",
        en_cure="They do with `finetuning_type: freeze` or with adapters in upper layers alone, as long as neither the "
        "embeddings nor a head tied to them learn and nothing below draws random numbers. Leave the key out: it is "
        "then used where it can be.",
        zh="`cache_frozen_layers: true`，但此 {found} 没有在各轮中输出不变的底部层。",
        zh_cure="`finetuning_type: freeze` 或仅在上层加适配器时才有，且词嵌入（及与其共享的输出头）不训练、"
        "下层没有随机性。可去掉此键：能用时会自动使用。",
    ),
    "model.no-room-to-keep": Letter(
        en="`cache_frozen_layers: true` needs {size} in {folder}; {room} may be used there, half of what is free.",
        en_cure="Make room, choose another output_dir, or leave the key out: rows without room are then computed each "
        "time.",
        zh="`cache_frozen_layers: true` 需要在 {folder} 中占用 {size}，而可用空间为 {room}（剩余空间的一半）。",
        zh_cure="请腾出空间、换一个 output_dir，或去掉此键：放不下的行将每次重新计算。",
    ),
    "model.layers-kept": Letter(
        en="the first {layers} layers do not learn: what they make of a row is computed once and kept, {size} on disk "
        "until the end.",
        en_cure="`cache_frozen_layers: false` computes it in every epoch.",
        zh="前 {layers} 层不参与训练：其对每行的输出只计算一次并保存，训练期间占用磁盘 {size}。",
        zh_cure="`cache_frozen_layers: false` 则每轮重新计算。",
    ),
    "model.some-layers-kept": Letter(
        en="the first {layers} layers do not learn: what they make of a row is kept until the end, for as many rows as "
        "go into {room}, half of what is free in {folder}; all would take {size}.",
        en_cure="Free disk space makes later epochs faster; `cache_frozen_layers: false` keeps nothing.",
        zh="前 {layers} 层不参与训练：其对每行的输出会被保存，最多占用 {room}（{folder} 剩余空间的一半）；"
        "全部需要 {size}。",
        zh_cure="磁盘空间越多，后续轮次越快；`cache_frozen_layers: false` 则不保存。",
    ),
    "model.kept-differs": Letter(
        en="what was kept of the frozen layers of {type} is not what they give now: a log-probability differs by "
        "{difference:.1e} (allowed: {allowed:.1e}).",
        en_cure="The run was stopped. `cache_frozen_layers: false` trains without it. Please report the model's name "
        "and the versions from `llamafactory-cli env`.",
        zh="保存的 {type} 冻结层输出与现在的计算结果不符：对数概率相差 {difference:.1e}（允许 {allowed:.1e}）。",
        zh_cure="训练已停止。设置 `cache_frozen_layers: false` 可不使用它。"
        "请报告模型名称和 `llamafactory-cli env` 的版本信息。",
    ),
}
