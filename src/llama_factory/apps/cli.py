"""`llamafactory-cli`, also `lmf`: words from a shell in, an exit code out.

    llamafactory-cli train file.yaml key=value --key value --flag

`main` reads the environment once, finds the command in one table, and turns whatever comes back, or up,
into an exit code of the table in `errors`. What a command does is in `pages`, `lookup` and `work`, which import
what they need when they are called: `version` and `help` load nothing heavy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from llama_factory.apps import checking, cleaning, converting, faults, lookup, pages, planning, showing, work
from llama_factory.apps.screen import Screen, fill_closed_descriptors, open_screen
from llama_factory.apps.usage import unknown

Words = Sequence[str]
Environ = Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for anything that a person can cause."""
    words = tuple(sys.argv[1:] if argv is None else argv)
    fill_closed_descriptors()
    environ = dict(os.environ)
    screen = open_screen(environ)
    try:
        code = dispatch(words, screen, environ)
        screen.out.flush()
    except BaseException as error:  # noqa: BLE001 - the door: everything that comes up gets a letter and a code
        return faults.answer(error, words, screen, environ)
    return code


def dispatch(words: Words, screen: Screen, environ: Environ) -> int:
    """The command named by the first word, called with the rest."""
    if not words:
        pages.help_((), screen, environ)
        return 2
    name, rest = words[0], words[1:]
    name = {"-h": "help", "--help": "help", "--version": "version", "-v": "version"}.get(name, name)
    command = COMMANDS.get(name)
    if command is None:
        raise unknown(name)
    if name != "help" and any(word in ("-h", "--help") for word in rest):
        return pages.help_((name,), screen, environ)
    return command(rest, screen, environ)


COMMANDS: Mapping[str, Callable[[Words, Screen, Environ], int]] = {
    "init": lookup.init,
    "convert": converting.convert,
    "clean": cleaning.clean,
    "check": checking.check,
    "plan": planning.plan,
    "show": showing.show,
    "train": work.train,
    "chat": work.chat,
    "export": work.export,
    "list": lookup.list_,
    "explain": lookup.explain,
    "env": lookup.env,
    "version": pages.version,
    "help": pages.help_,
}
