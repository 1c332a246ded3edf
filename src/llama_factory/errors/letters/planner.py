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
        en="expected a whole number for `{key}`, found {found}: without it no size is known.",
        en_cure="Give the folder of a model whose config.json says it.",
        zh="`{key}` 应为整数，当前为 {found}：缺少它就无法得知大小。",
        zh_cure="请使用 config.json 中写明此项的模型文件夹。",
    ),
}
