"""The commands that look something up or write a first file: explain, list, env, init.

In: the words after the command and a screen. Out: aligned lines, and the exit code. What is known stands in
`config`, `render`, `machine` and in files beside the user; nothing is decided here and no torch is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.apps.pages import at_most, heading
from llama_factory.apps.words import said
from llama_factory.errors import InputError, MachineError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen

Environ = Mapping[str, str]
LISTS = ("templates", "datasets", "methods", "models")


def env(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """The machine and the versions; DISABLE_VERSION_CHECK silences the word about the tutorials' pins."""
    at_most("env", words, 0, screen)
    from llama_factory import machine

    rows = machine.environment()
    screen.table(rows, indent="")
    if environ.get("DISABLE_VERSION_CHECK", "").lower() not in ("1", "true", "y", "yes", "on"):
        screen.line()
        screen.paragraph(said("env.pins", screen.language, pins=", ".join(PINS)))
    return 0


PINS = ("torch 2.0.1, 2.2.1, 2.6.0", "transformers 4.30.2, 4.38.1, 4970b23", "accelerate 0.20.3, 1.2.1", "peft 0.15.1")
"""Versions that the tutorials tell their readers to install; the commands here do not depend on them."""


def init(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """A commented configuration in a new file."""
    at_most("init", words, 1, screen)
    from llama_factory import config

    path = Path(words[0] if words else "train.yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(config.starter("lora"))
    except (FileExistsError, IsADirectoryError) as error:
        raise InputError("apps.file-exists", where=path) from error
    except OSError as error:
        raise MachineError("apps.cannot-write", where=path, reason=error.strerror) from error
    screen.line(said("init.done", screen.language, path=path))
    return 0
