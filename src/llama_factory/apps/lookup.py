"""The commands that look something up or write a first file: explain, list, env, init.

In: the words after the command and a screen. Out: aligned lines, and the exit code. What is known stands in
`config`, `render`, `machine` and in files beside the user; nothing is decided here and no torch is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llama_factory.apps.usage import at_most
from llama_factory.apps.words import said
from llama_factory.errors import InputError, LlamaFactoryError, MachineError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.config.starter import Method
    from llama_factory.config.values import Choice
    from llama_factory.errors import Language

Environ = Mapping[str, str]


def env(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """The machine and the versions, line by line beside those that the tutorials pin; below, what they pin more."""
    at_most("env", words, 0, screen)
    from llama_factory import utils
    from llama_factory.machine.environment import absent_pins, table

    rows = [(line.name, utils.with_pins(line, screen.language, environ)) for line in table()]
    screen.table(rows, indent="")
    absent = absent_pins()
    if absent and not utils.pins_are_silenced(environ):
        screen.line()
        screen.paragraph(said("env.pins", screen.language, pins="; ".join(absent)))
    return 0


def init(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """A commented configuration in a new file: `init`, `init my.yaml`, `init my.yaml full`."""
    from llama_factory import config

    method: Method = next((one for one in METHODS if one in words), "lora")
    names = [word for word in words if word != method]
    at_most("init", names, 1, screen)
    path = Path(names[0] if names else "train.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise InputError("apps.init-name", found=path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(config.starter(method, screen.language))
    except OSError as error:
        if path.exists():
            raise InputError("apps.file-exists", where=path) from error
        raise MachineError("apps.cannot-write", where=path, reason=error.strerror) from error
    screen.line(said("init.done", screen.language, path=path))
    return 0


METHODS: tuple[Method, ...] = ("lora", "freeze", "full")


# --- explain -----------------------------------------------------------------------------------------------


def explain(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """What the configuration knows about one key; without one, every key with its line, for the eye and for grep."""
    at_most("explain", words, 1, screen)
    from llama_factory import config

    if not words:
        for number, (title, keys) in enumerate(keys_by_section(screen.language)):
            if number:
                screen.line()
            screen.line(screen.bold(title))
            screen.table(keys)
        return 0
    for number, line in enumerate(config.explain(words[0], screen.language).splitlines()):
        indent = line[: len(line) - len(line.lstrip())]
        screen.paragraph(screen.bold(line) if number == 0 else line.lstrip(), indent=indent)
    return 0


def keys_by_section(language: Language, command: str = "") -> list[tuple[str, list[tuple[str, str]]]]:
    """Title of a section, then its keys with their help: all built ones, or those that a command reads."""
    from llama_factory.config import Run, fields
    from llama_factory.config.keys import leaves

    found: dict[str, list[tuple[str, str]]] = {}
    for key, leaf in leaves(Run).items():
        about = fields()[key]
        if not command or command in about.commands:
            title = leaf.section.title[language == "zh"]
            found.setdefault(title, []).append((key, about.zh if language == "zh" else about.en))
    return list(found.items())


# --- list --------------------------------------------------------------------------------------------------


def list_(words: Sequence[str], screen: Screen, environ: Environ) -> int:
    """One list by its name, or all four under their headings."""
    at_most("list", words, 1, screen)
    if words and words[0] not in MAKERS:
        raise InputError("apps.unknown-list", found=words[0], known=", ".join(MAKERS))
    for number, name in enumerate(words or MAKERS):
        rows = MAKERS[name](screen.language)
        if words:
            screen.table(rows, indent="")
            continue
        if number:
            screen.line()
        screen.line(screen.bold(said(f"list.{name}", screen.language)))
        screen.table(rows or [("-",)])
    return 0


def templates(language: Language) -> list[tuple[str, ...]]:
    """Name, what ends an answer, whether it thinks, whether it has a form for tools."""
    from llama_factory.render.templates import TEMPLATES, template_names

    rows: list[tuple[str, ...]] = []
    for name in template_names():
        form = TEMPLATES[name][0]
        stops = " ".join(form.stops).replace("{eos}", said("list.end-of-text", language))
        tools = said("list.tools", language) if form.tools else ""
        rows.append((name, stops, said(f"list.thinking.{form.thinking}", language), tools))
    return rows


def datasets(folder: str = "data") -> list[tuple[str, ...]]:
    """Name, format and file of every entry in the reader's registry and the shipped one; then the public sets that are
    known by name, with their stage, their place on the hub, language and licence."""
    from llama_factory.data import public, registry

    rows: list[tuple[str, ...]] = []
    for name in registry.names(folder):
        try:
            entry = registry.find(name, folder)
        except LlamaFactoryError as error:  # one bad entry does not hide the others
            rows.append((name, "!", error.letter().splitlines()[0]))
        else:
            rows.append((name, entry.formatting or "-", entry.shown))
    own = {row[0] for row in rows}
    rows += [
        (one.name, one.stage, f"{one.hub} ({one.language}; {one.licence})")
        for one in public.table()
        if one.name not in own
    ]
    return rows


def methods(language: Language) -> list[tuple[str, ...]]:
    """Every stage and way of training that a configuration may name, and whether it is built."""
    from llama_factory.config import Run
    from llama_factory.config.keys import leaves

    rows: list[tuple[str, ...]] = []
    for key in ("stage", "finetuning_type"):
        reader = cast("Choice", leaves(Run)[key].reader)
        rows += [(word, key, said("list.built", language)) for word in reader.words]
        rows += [(word, key, said("list.planned", language)) for word in reader.planned]
    return rows


def models(folder: Path = Path("models")) -> list[tuple[str, ...]]:
    """Folders below ./models with a config.json: path, model type, size of the weights."""
    rows: list[tuple[str, ...]] = []
    for path in sorted(folder.glob("*/config.json")) + sorted(folder.glob("*/*/config.json")):
        try:
            kind = json.loads(path.read_text("utf-8")).get("model_type", "-")
        except (ValueError, OSError, AttributeError):
            kind = "-"
        size = sum(file.stat().st_size for file in path.parent.glob("*.safetensors"))
        rows.append((str(path.parent), str(kind), f"{size / 1e9:.2f} GB" if size else "-"))
    return rows


MAKERS: Mapping[str, Callable[[Language], list[tuple[str, ...]]]] = {
    "templates": templates,
    "datasets": lambda _: datasets(),
    "methods": methods,
    "models": lambda _: models(),
}
