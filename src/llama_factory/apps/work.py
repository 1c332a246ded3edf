"""The commands that need a configuration and do the work of a room below: train, chat, export.

In: `file.yaml key=value --key value` and a screen. Out: what the recipe, the export or the conversation says,
and the exit code. The rooms are imported when a command is called. Nothing is trained, merged or answered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.apps.telling import tell
from llama_factory.errors import InputError
from llama_factory.machine.processes import YES, refuse_many

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.config import Run
    from llama_factory.config.keys import Command
    from llama_factory.records import Finding

Environ = Mapping[str, str]
Say = Callable[[str], None]


def train(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    refuse_many(environ)
    run = ready("train", words)
    say = steadfast(screen)
    tell((*run.notices, *variables(environ)), screen, say)
    from llama_factory import recipes

    outcome = recipes.train(run, say=say, language=screen.language)
    for line in outcome.lines:
        say(line)
    return 0


def export(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    run = ready("export", words)
    say = steadfast(screen)
    tell((*run.notices, *variables(environ)), screen, say)
    from llama_factory.export import export_model

    export_model(run, say, language=screen.language)
    return 0


def chat(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    run = ready("chat", words)
    tell((*run.notices, *variables(environ)), screen, screen.note)
    from llama_factory.apps import repl, talker

    return repl.talk(talker.open_session(run, screen), screen)


def ready(command: Command, words: Sequence[str]) -> Run:
    """The configuration, once it names all that the command cannot do without."""
    from llama_factory import config

    run = read(command, words)
    config.require(run, command)
    return run


def read(command: str, words: Sequence[str]) -> Run:
    """The configuration that a file, words, or both describe."""
    from llama_factory import config

    if not words:
        raise InputError("apps.nothing-given", command=command)
    file, rest = split(words)
    return config.load(file, rest)


def split(words: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """The file, if the first word is one, and the rest: a first word with a `=` or a dash is a key."""
    first, rest = words[0], tuple(words[1:])
    if first.partition("=")[0].isidentifier() and "=" in first and not Path(first).exists():
        return None, tuple(words)  # its value may end like a file's name: dataset=train.json
    if first.endswith((".yaml", ".yml", ".json")) and not first.startswith("-") and not Path(first).is_dir():
        return Path(first), rest
    if first.startswith("-") or "=" in first:
        return None, tuple(words)
    return Path(first), rest


def steadfast(screen: Screen) -> Say:
    """A way to say things that outlives its reader: hours of training do not end because a pipe was closed."""
    lost = False

    def say(text: str) -> None:
        nonlocal lost
        if lost:
            return
        try:
            screen.line(text)
        except OSError:
            lost = True

    return say


LATER = ("USE_RAY", "USE_KT", "USE_MCA", "USE_MEGATRON_BRIDGE", "USE_MODELSCOPE_HUB", "USE_OPENMIND_HUB")
"""Variables by which the tutorials' program takes another engine or hub; the result would be the same."""


def variables(environ: Environ) -> tuple[Finding, ...]:
    """What the environment asks for and does not get, though the work goes on."""
    from llama_factory.records import Finding

    asked = [(name, environ.get(name, "").strip()) for name in LATER]
    return tuple(
        Finding("apps.variable-without-effect", "note", "", {"variable": name, "found": found})
        for name, found in asked
        if found.lower() in YES
    )
