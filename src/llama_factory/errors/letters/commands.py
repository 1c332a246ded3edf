"""The letters of `show`, `convert` and `clean`, the commands that work on data without training."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "apps.option-unknown": Letter(
        en="`{found}` is not an option of this command{near}.",
        en_cure="Its options are: {known}.",
        zh="这个命令没有 `{found}` 选项{near}。",
        zh_cure="可用的选项：{known}。",
    ),
    "apps.option-twice": Letter(
        en="`--{option}` was given twice.",
        en_cure="Give it once.",
        zh="`--{option}` 给了两次。",
        zh_cure="请只写一次。",
    ),
    "apps.option-value": Letter(
        en="expected `--{option}` to be followed by {expected}, found `{found}`.",
        en_cure="`llamafactory-cli help {command}` shows how it is called.",
        zh="`--{option}` 之后应为 {expected}，却是 `{found}`。",
        zh_cure="用法见 `llamafactory-cli help {command}`。",
    ),
    "apps.file-there": Letter(
        en="there is a file already; it was left as it is.",
        en_cure="Name another one, or add `--overwrite`.",
        zh="文件已存在，未作改动。",
        zh_cure="请换一个名字，或加上 `--overwrite`。",
    ),
    "apps.show-no-row": Letter(
        en="there is no row `{row}`; the last one that was read is `{last}`.",
        en_cure="Rows are named as letters name them: `812`, `train.jsonl:812` or `my_set:812`.",
        zh="没有 `{row}` 这一行；读到的最后一行是 `{last}`。",
        zh_cure="行的写法与提示中的相同：`812`、`train.jsonl:812` 或 `my_set:812`。",
    ),
    "apps.show-too-many": Letter(
        en="at most {most} rows are shown at once.",
        en_cure="Ask for fewer; `check` looks at all of them.",
        zh="一次最多展示 {most} 行。",
        zh_cure="请减少行数；`check` 会检查全部数据。",
    ),
    "apps.show-one-way": Letter(
        en="`{first}` and `{second}` both say which rows to show.",
        en_cure="Give one of them.",
        zh="`{first}` 与 `{second}` 都在指定要展示的行。",
        zh_cure="请只保留其中一个。",
    ),
}
