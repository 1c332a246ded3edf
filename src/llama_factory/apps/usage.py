"""What the first words of a command line may be, and the letters for those that are something else.

In: words. Out: nothing when they fit, else the letter by what the person most likely meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llama_factory.apps.words import COMMANDS, PLANNED, USAGE
from llama_factory.errors import InputError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen


def unknown(name: str) -> InputError:
    """The letter for a first word that is no command, by what the person most likely meant."""
    if name.endswith((".yaml", ".yml", ".json")):
        return InputError("apps.file-as-command", found=name)
    if name.startswith("-") or "=" in name:
        return InputError("apps.option-as-command", found=name)
    if name in PLANNED:
        return InputError("apps.planned-command", found=name)
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
    if near:
        return InputError("apps.unknown-command-near", found=name, near=near[0])
    return InputError("apps.unknown-command", found=name)


def at_most(command: str, words: Sequence[str], count: int, screen: Screen) -> None:
    if len(words) > count:
        expected = " ".join(USAGE[command]).strip() or {"en": "nothing more", "zh": "(无)"}[screen.language]
        raise InputError("apps.too-many-words", command=command, expected=expected, found=words[count])
