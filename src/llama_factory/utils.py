"""`check_env`: the table of `llamafactory-cli env` with a mark on every line, and an error where something is missing.

In: the installed packages and this machine. Out: lines; every library that is missing or too old at once as one
error that names what to type. What is known stands in `machine.environment`; here it is put into words, for `env` too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from llama_factory.errors import Language, SeveralErrors
from llama_factory.machine.environment import Line, table

WORDS: Mapping[Language, str] = {
    "en": "the tutorials name {pins}; that makes no difference here",
    "zh": "教程中为 {pins}，在此没有影响",
}


def check_env(*, say: Callable[[str], None] = print, language: Language = "en") -> None:
    """Print what is there, ✓ or ✗ before each line. Raises MachineError when a library is missing or too old.

    A release that differs from the one a tutorial names is said on its line; DISABLE_VERSION_CHECK=1 silences that.
    """
    lines = table()
    width = max(len(line.name) for line in lines)
    for line in lines:
        text = with_pins(line, language, os.environ)
        say(f"{'✗' if line.problem else '✓'} {line.name.ljust(width)}  {text}")
    problems = [line.problem for line in lines if line.problem]
    if problems:
        raise SeveralErrors(problems)


def with_pins(line: Line, language: Language, environ: Mapping[str, str]) -> str:
    """The value of a line, and behind it what the tutorials name instead."""
    if not line.pins or pins_are_silenced(environ):
        return line.value
    return f"{line.value}   ({WORDS[language].format(pins=', '.join(line.pins))})"


def pins_are_silenced(environ: Mapping[str, str]) -> bool:
    return environ.get("DISABLE_VERSION_CHECK", "").lower() in ("1", "true", "y", "yes", "on")
