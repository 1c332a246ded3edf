"""`check_env`: the table of `llamafactory-cli env` with a mark on every line, and an error where something is missing.

In: the installed packages and this machine. Out: lines; every library that is missing or too old at once as one
error that names what to type. It loads none of the libraries that it looks at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from llama_factory import machine
from llama_factory.errors import Language, LlamaFactoryError, MachineError, SeveralErrors
from llama_factory.machine.environment import installed

LEAST: Mapping[str, str] = {
    "torch": "2.10",
    "transformers": "5.3",
    "peft": "0.18",
    "accelerate": "1.10",
    "tokenizers": "0.22",
    "safetensors": "0.5",
    "huggingface_hub": "1.0",
    "numpy": "1.26",
    "pydantic": "2.8",
}
"""What nothing can be trained without, with the least releases that `pyproject.toml` asks for."""

PINS: Mapping[str, tuple[str, ...]] = {
    "torch": ("2.0.1", "2.2.1", "2.6.0"),
    "transformers": ("4.30.2", "4.38.1", "4970b23"),
    "accelerate": ("0.20.3", "1.2.1"),
    "peft": ("0.15.1",),
}
"""Releases that the tutorials tell their readers to install. Nothing here depends on them."""

WORDS: Mapping[Language, str] = {
    "en": "the tutorials name {pins}; that makes no difference here",
    "zh": "教程中为 {pins}，在此没有影响",
}


def check_env(*, say: Callable[[str], None] = print, language: Language = "en") -> None:
    """Print what is there, ✓ or ✗ before each line. Raises MachineError when a library is missing or too old.

    A release that differs from the one a tutorial names is said on its line; DISABLE_VERSION_CHECK=1 silences that.
    """
    problems = {library: problem for library in LEAST if (problem := _problem(library)) is not None}
    silent = os.environ.get("DISABLE_VERSION_CHECK", "").lower() in ("1", "true", "y", "yes", "on")
    rows = dict(machine.environment())
    rows |= {library: "-" for library in problems if library not in rows}
    width = max(map(len, rows))
    for name, value in rows.items():
        pins = () if silent or name in problems else PINS.get(name, ())
        differs = bool(pins) and value.partition("+")[0] not in pins
        more = f"   ({WORDS[language].format(pins=', '.join(pins))})" if differs else ""
        say(f"{'✗' if name in problems else '✓'} {name.ljust(width)}  {value}{more}")
    if problems:
        raise SeveralErrors(problems.values())


def _problem(library: str) -> LlamaFactoryError | None:
    found, least = installed(library), LEAST[library]
    if found is None:
        return MachineError("utils.missing-library", library=library, least=least)
    if _release(found) < _release(least):
        return MachineError("utils.old-library", library=library, least=least, found=found)
    return None


def _release(version: str) -> tuple[int, ...]:
    """The first numbers of a version: `2.13.0+cpu` -> (2, 13)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
