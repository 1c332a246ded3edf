"""The file of `new_special_tokens_config`: special tokens, and a few words on each.

In: its path. Out: words by token, none of them empty, or letters that name the line. It deliberately does not know a
tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llama_factory.config.reading import raise_all, read_file, shown
from llama_factory.errors import InputError, LlamaFactoryError


def read_descriptions(file: str | None) -> Mapping[str, str]:
    """Nothing where no file is named. Raises InputError."""
    if file is None:
        return {}
    document = read_file(Path(file))
    problems: list[LlamaFactoryError] = list(document.problems)
    for entry in document.entries:
        if not entry.name or not isinstance(entry.value, str) or not entry.value.strip():
            values = {"token": entry.name, "found": shown(entry.value)}
            problems.append(InputError("config.no-description", where=entry.where, **values))
    raise_all(problems)
    if not document.entries:
        raise InputError("config.descriptions-empty", where=file)
    return {entry.name: str(entry.value).strip() for entry in document.entries}
