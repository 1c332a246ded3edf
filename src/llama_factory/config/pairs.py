"""Settings by name inside one key: `optim_args: momentum=0.9`, `lr_scheduler_kwargs: {num_cycles: 2}`.

In: a mapping, JSON of one, or `name=value, name=value`. Out: JSON text, sorted by name, that a run keeps and writes.
What it deliberately does not do: know which names there are. Rules compare them with the tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TypeAlias

from llama_factory.config.reading import Branch
from llama_factory.config.values import Json, Plain, Reader, UnreadableError, as_bool, as_number, as_text, is_null

Value: TypeAlias = "int | float | bool | str | None"


@dataclass(frozen=True, eq=False)
class Pairs(Reader):
    """Settings by name: a mapping, JSON of one, or `name=value, name=value`. Read as JSON text, sorted by name."""

    @property
    def text(self) -> str:
        return "name=value, ... | {name: value, ...}"

    @property
    def schema(self) -> Json:
        return {"type": ["string", "object"]}

    def read(self, value: object) -> str | None:
        found = {name: _setting(one) for name, one in _named(value)}
        return json.dumps(dict(sorted(found.items())), ensure_ascii=False) if found else None

    @staticmethod
    def values_of(text: str | None) -> dict[str, Value]:
        """The settings that `read` made this text of."""
        found: dict[str, Value] = json.loads(text) if text else {}
        return found


def _named(value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        pairs = [(as_text(name).strip(), one) for name, one in value.items()]
    elif isinstance(value, str) and value.strip().startswith("{"):
        try:
            loaded = json.loads(value)
        except ValueError as error:
            raise UnreadableError from error
        pairs = list(loaded.items())
    elif isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(equals for _, equals, _ in parts):
            raise UnreadableError
        pairs = [(name.strip(), Plain(one)) for name, _, one in parts]
    elif isinstance(value, Branch):
        pairs = [(one.name, one.value) for one in value.entries]
    else:
        raise UnreadableError
    if len({name for name, _ in pairs}) < len(pairs) or not all(name for name, _ in pairs):
        raise UnreadableError
    return pairs


def _setting(value: object) -> Value:
    """A number, true or false, or a word."""
    if is_null(value):
        return None
    if isinstance(value, (str, Real)) and not isinstance(value, bool):
        try:
            return as_number(value)
        except UnreadableError:
            pass
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return as_bool(value)
    return value if isinstance(value, bool) else as_text(value).strip()
