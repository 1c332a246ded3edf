"""What a rule says, and how it asks whether a key was changed at all.

Deliberately not here: a rule. Those stand in `rules`, and in `moving` for what moves the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llama_factory.config.keys import leaves
from llama_factory.records import Severity

if TYPE_CHECKING:
    from llama_factory.config.run import Run


class Said(NamedTuple):
    """What a rule has to say, and the keys it is about."""

    id: str
    keys: tuple[str, ...]
    values: Mapping[str, Any]
    severity: Severity = "error"


def unused(key: str, by: str, value: object) -> Said:
    return Said("config.unused-key", (key, by), {"key": key, "other": f"{by}: {value}"}, severity="note")


def changed(run: Run, key: str) -> bool:
    """Whether a key says something else than its default: only then it is worth a line that nothing reads it."""
    return bool(run.value(key) != leaves(type(run))[key].default)
