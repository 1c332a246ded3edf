"""`version` and `help`: pages that need nothing but this package's own words.

In: the words after the command and a screen. Out: lines, and the exit code. What `help` says about keys is
read from the configuration's fields, which is the one thing here that takes a moment to load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llama_factory import __version__
from llama_factory.apps.usage import at_most, unknown
from llama_factory.apps.words import COMMANDS, EXAMPLES, USAGE, said
from llama_factory.errors import EXIT_CODES

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen

Environ = Mapping[str, str]
KEYED = ("train", "chat", "export")


def version(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    at_most("version", words, 0, screen)
    screen.line(f"LLaMA Factory {__version__}")
    return 0


def help_(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """`help` and `help COMMAND`."""
    words = [word for word in words if word not in ("-h", "--help")]
    at_most("help", words, 1, screen)
    if not words:
        _front_page(screen)
        return 0
    if words[0] not in COMMANDS:
        raise unknown(words[0])
    _page(words[0], screen)
    return 0


def _front_page(screen: Screen) -> None:
    tell = screen.language
    screen.line(screen.bold(said("title", tell, version=__version__)))
    heading("help.usage", screen)
    screen.line("  llamafactory-cli COMMAND [FILE] [KEY=VALUE ...]")
    heading("help.commands", screen)
    screen.table([(name, text.zh if tell == "zh" else text.en) for name, text in COMMANDS.items()])
    heading("help.examples", screen)
    for example in EXAMPLES[""]:
        screen.line(f"  {example}")
    heading("help.exit", screen)
    screen.table([(str(code), said(f"exit.{code}", tell)) for code in EXIT_CODES])
    screen.line()
    screen.paragraph(said("help.more", tell))
    screen.paragraph(said("help.alias", tell))


def _page(name: str, screen: Screen) -> None:
    tell = screen.language
    screen.paragraph(said(f"about.{name}", tell))
    heading("help.usage", screen)
    for usage in USAGE[name]:
        screen.line(f"  llamafactory-cli {name} {usage}".rstrip())
    if EXAMPLES[name]:
        heading("help.examples", screen)
        for example in EXAMPLES[name]:
            screen.line(f"  {example}")
    if name in KEYED:
        from llama_factory.apps.lookup import keys_by_section

        heading("help.keys", screen)
        screen.table([(brief(title), ", ".join(key for key, _ in keys)) for title, keys in keys_by_section(tell, name)])
        screen.line()
        screen.paragraph(said("help.keys-more", tell))


def brief(title: str) -> str:
    """`lora` of `lora: small matrices beside frozen weights`."""
    return re.split("[:,\uff1a\uff0c]", title, maxsplit=1)[0]


def heading(id: str, screen: Screen) -> None:
    screen.line()
    screen.line(screen.bold(said(id, screen.language)))
