"""The letters of `planner`: what a plan could not be made of, and a run that will not fit."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "planner.type-unknown": Letter(
        en="no plan without knowing how models of type `{found}` are built{nearest}.",
        en_cure="These are known: {known}. `check --step` measures one real step of any model.",
        zh="不了解 `{found}` 类型模型的结构{nearest}，无法做出规划。",
        zh_cure="已知类型：{known}。`check --step` 可对任何模型实测一步。",
    ),
    "planner.size-unknown": Letter(
        en="expected config.json to give `{key}` as a size, found {found}: nothing can be counted without it.",
        en_cure="Give the folder of a model whose config.json says it.",
        zh="config.json 中的 `{key}` 应给出大小，当前为 {found}：缺少它就无法计算。",
        zh_cure="请使用 config.json 中写明此项的模型文件夹。",
    ),
    "planner.no-config": Letter(
        en="a plan needs a folder with a config.json; there is none here.",
        en_cure="Name the folder of a model, or a well-known model such as Qwen2.5-7B. No weights are needed.",
        zh="规划需要含 config.json 的文件夹，此处没有。",
        zh_cure="请指定模型文件夹，或 Qwen2.5-7B 这样的知名模型。不需要权重文件。",
    ),
    "planner.model-unknown": Letter(
        en="no folder of this name, no well-known model{nearest}, and no config.json could be fetched from a hub.",
        en_cure="Name a folder that holds the model's config.json (no weights are needed), or one of: {known}.",
        zh="没有此名称的文件夹，也不是知名模型{nearest}，且无法从模型站点取得 config.json。",
        zh_cure="请指定含 config.json 的文件夹（不需要权重），或以下之一：{known}。",
    ),
    "planner.card-unknown": Letter(
        en="expected the name of a GPU, found `{found}`{nearest}.",
        en_cure="Known are {known}. Without --gpu, --memory alone is enough, and no time is told.",
        zh="应为 GPU 名称，当前为 `{found}`{nearest}。",
        zh_cure="已知型号：{known}。不写 --gpu 时，只需 --memory，此时不估计时间。",
    ),
    "planner.file-and-model": Letter(
        en="expected a configuration or --model, found both or neither.",
        en_cure="`plan train.yaml` for a run, `plan --model Qwen2.5-7B --memory 24GB` for a model.",
        zh="应给出配置文件或 --model 之一，当前两者都有或都没有。",
        zh_cure="规划一次训练：`plan train.yaml`；规划一个模型：`plan --model Qwen2.5-7B --memory 24GB`。",
    ),
    "planner.rows-not-read": Letter(
        en="the rows could not be read, so their lengths are taken for granted: {reason}",
        en_cure="The rest of the plan holds; `check` says more.",
        zh="无法读取数据行，长度按假设计算：{reason}",
        zh_cure="其余规划仍然有效；`check` 会给出详情。",
    ),
    "planner.lengths-assumed": Letter(
        en="no row was looked at: every one is taken to have {length} tokens, all of them learned.",
        en_cure="With shorter rows less memory and time are needed; write another cutoff_len to see how much.",
        zh="未查看数据行：假设每行 {length} 个词元且全部参与训练。",
        zh_cure="行更短时所需内存与时间更少；改写 cutoff_len 可查看差别。",
    ),
    "planner.will-not-fit": Letter(
        en="this run would take {needed} of memory, and {free} are free: {parts}.",
        en_cure="{changes} Or write `ignore_memory_plan: true` to train nevertheless.",
        zh="本次训练约需内存 {needed}，当前可用 {free}：{parts}。",
        zh_cure="{changes} 若仍要训练，请写 `ignore_memory_plan: true`。",
    ),
    "planner.checkpoints": Letter(
        en="activations are computed twice: as they are this run would take {without} of memory, so {needed}, and "
        "{free} are free.",
        en_cure="Nothing to do; a step takes about a third longer. `gradient_checkpointing: true` says that this is "
        "known, `false` forbids it; a smaller `micro_batch_tokens` may be cheaper.",
        zh="已启用激活值重算：否则本次训练约需内存 {without}，启用后为 {needed}，可用 {free}。",
        zh_cure="无需处理；每步约慢三分之一。`gradient_checkpointing: true` 表示已知晓，`false` 表示禁止；"
        "减小 `micro_batch_tokens` 可能代价更小。",
    ),
    "planner.nearly-full": Letter(
        en="this run would take {needed} of the {free} of memory that are free: less than 20 % are left.",
        en_cure="Close other programs, or set `gradient_checkpointing: true`. `plan` shows what each method takes.",
        zh="本次训练约需内存 {needed}，可用 {free}：剩余不足 20 %。",
        zh_cure="请关闭其他程序，或设置 `gradient_checkpointing: true`。`plan` 会列出各方法所需内存。",
    ),
}
