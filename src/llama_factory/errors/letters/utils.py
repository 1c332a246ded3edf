"""The letters of `utils`."""

from __future__ import annotations

from llama_factory.errors.letters.letter import Letter

LETTERS: dict[str, Letter] = {
    "utils.missing-library": Letter(
        en="expected {library} {least} or later, found none.",
        en_cure='pip install "{library}>={least}"',
        zh="应安装 {library} {least} 或更高版本，但未找到。",
        zh_cure='pip install "{library}>={least}"',
    ),
    "utils.old-library": Letter(
        en="expected {library} {least} or later, found {found}.",
        en_cure='pip install -U "{library}>={least}"',
        zh="应安装 {library} {least} 或更高版本，当前为 {found}。",
        zh_cure='pip install -U "{library}>={least}"',
    ),
}
