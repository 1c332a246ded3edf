"""What a section is and what a key of it carries: default, type, help in two languages, unit, commands.

Everything that is said about a key (`explain`, the starter file, the JSON schema, the letters) is read
from here, so that no second list can drift away from the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from llama_factory.config.values import Names, Numbers, Reader

Command = Literal["train", "chat", "export"]
Status = Literal["built", "planned", "without effect"]

ALL: tuple[Command, ...] = ("train", "chat", "export")


class Section(BaseModel):
    """A frozen group of keys. `commands`: who uses its keys, unless a key says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    commands: ClassVar[tuple[Command, ...]] = ("train",)
    title: ClassVar[tuple[str, str]] = ("", "")


@dataclass(frozen=True, eq=False)
class About:
    """The metadata of a key beside its type and default.

    starter: what `init` writes. Nothing = the key is left out; a text that begins with `# ` = written as a
    comment; a mapping = by method (`lora`, `freeze`, `full`).
    """

    en: str
    zh: str
    unit: str = ""
    commands: tuple[Command, ...] = ()
    starter: Any = None
    secret: bool = False


def key(
    default: Any,
    *,
    en: str,
    zh: str,
    unit: str = "",
    commands: tuple[Command, ...] = (),
    starter: Any = None,
    secret: bool = False,
) -> Any:
    about = About(en=en, zh=zh, unit=unit, commands=commands, starter=starter, secret=secret)
    return Field(default, description=en, repr=not secret, json_schema_extra={"about": about})  # type: ignore[dict-item]


@dataclass(frozen=True, eq=False)
class Leaf:
    """One built key: where it lives and how it is read."""

    name: str
    path: tuple[str, ...]
    section: type[Section]
    default: Any
    reader: Reader
    about: About
    may_be_null: bool

    @property
    def commands(self) -> tuple[Command, ...]:
        return self.about.commands or self.section.commands


def walk(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every key below a section, in the order of the source."""
    for name, info in section.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from walk(inner, (*path, name))
        else:
            yield _leaf(name, path, section, info)


def _leaf(name: str, path: tuple[str, ...], section: Any, info: FieldInfo) -> Leaf:
    reader = next(one for one in info.metadata if isinstance(one, Reader))
    extra: Any = info.json_schema_extra
    may_be_null = isinstance(reader, (Names, Numbers)) or type(None) in get_args(info.annotation)
    return Leaf(name, path, section, info.default, reader, extra["about"], may_be_null)


@cache
def leaves(section: type[BaseModel]) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in walk(section)}
