"""The commented YAML that `init` writes.

Comes in: a method. Goes out: a file that loads as it stands, trains after two values are filled in, and still
loads when every line that is commented out is taken in. What stands in it is said beside each key in its
section (`starter=`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llama_factory.config.keys import Leaf, leaves
from llama_factory.config.run import Run
from llama_factory.config.writing import line
from llama_factory.errors import Language

Method = Literal["lora", "freeze", "full"]

_HEAD: Mapping[Language, str] = {
    "en": (
        "# A configuration of LLaMA Factory. One file serves every command:\n"
        "#   llamafactory-cli train THIS_FILE\n"
        "#   llamafactory-cli chat THIS_FILE {result}\n"
        "#   llamafactory-cli export THIS_FILE {result} export_dir=models/my-model\n"
        "# `llamafactory-cli explain KEY` says more about a key. A line with `# key: value` is a suggestion.\n"
    ),
    "zh": (
        "# LLaMA Factory 配置文件，各命令共用：\n"
        "#   llamafactory-cli train 本文件\n"
        "#   llamafactory-cli chat 本文件 {result}\n"
        "#   llamafactory-cli export 本文件 {result} export_dir=models/my-model\n"
        "# `llamafactory-cli explain 键名` 可查看说明。形如 `# 键: 值` 的行为建议，默认不启用。\n"
    ),
}

_RESULT: Mapping[Method, str] = {
    "lora": "adapter_name_or_path=saves/my-model",
    "freeze": "model_name_or_path=saves/my-model",
    "full": "model_name_or_path=saves/my-model",
}


def starter(method: Method = "lora", language: Language = "en") -> str:
    parts = [_HEAD[language].format(result=_RESULT[method])]
    section = None
    for leaf in leaves(Run).values():
        value = _value(leaf, method)
        if value is None:
            continue
        if leaf.section is not section:
            section = leaf.section
            parts.append(f"\n### {section.title[0 if language == 'en' else 1]}\n")
        parts.append(_lines(leaf, value, language))
    return "".join(parts)


def _value(leaf: Leaf, method: Method) -> Any:
    wanted = leaf.about.starter
    return wanted.get(method) if isinstance(wanted, Mapping) else wanted


def _lines(leaf: Leaf, value: Any, language: Language) -> str:
    text = leaf.about.en if language == "en" else leaf.about.zh
    unit = f" [{leaf.about.unit}]" if leaf.about.unit else ""
    suggestion = isinstance(value, str) and value.startswith("# ")
    said = f"# {leaf.name}: {value[2:]}" if suggestion else line(leaf.name, value)
    return f"# {text}{unit}\n{said}\n"
