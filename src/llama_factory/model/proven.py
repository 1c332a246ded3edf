"""Which model types take which way, and why: the table `proven.json`, read.

In: a model's configuration and module. Out: a `Way`. The table is written by `scripts/prove_models.py`,
which compares every way with the plain forward of transformers, and is checked by the tests; nothing
else decides that a way is right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from llama_factory.model.head import LogitRule
from llama_factory.model.layouts import Layout


@dataclass(frozen=True, slots=True)
class Proof:
    """What was shown for one model type.

    layouts: those equal to the plain forward, the fastest first; empty means that none was.
    model: the class in transformers that it was shown for; a model type can have several.
    multiply, divide, softcap: the configuration's names of what is done to the logits after the head.
    inputs: inputs beside ids that the type insists on; zeros say nothing about text.
    why: in words, what stood in the way of a faster layout.
    """

    layouts: tuple[Layout, ...]
    model: str = ""
    multiply: str | None = None
    divide: str | None = None
    softcap: str | None = None
    inputs: tuple[str, ...] = ()
    why: str = ""

    def is_about(self, model: object) -> bool:
        """This very class, out of transformers itself: code from elsewhere may bear the same name."""
        kind = type(model)
        return kind.__name__ == self.model and kind.__module__.startswith("transformers.")

    def rule(self, config: Any) -> LogitRule:
        """The numbers of this model for the names that the proof found."""
        scale = float(getattr(config, self.multiply)) if self.multiply else 1.0
        if self.divide:
            scale /= float(getattr(config, self.divide))
        softcap = getattr(config, self.softcap) if self.softcap else None
        return LogitRule(scale=scale, softcap=None if softcap is None else float(softcap))


UNPROVEN = Proof(layouts=(), why="this model type is not on the list of proven ones")


@cache
def table() -> dict[str, Proof]:
    """All of proven.json."""
    text = files("llama_factory.model").joinpath("proven.json").read_text(encoding="utf-8")
    return {name: read(entry) for name, entry in json.loads(text)["types"].items()}


def read(entry: dict[str, Any]) -> Proof:
    fields = dict(entry)
    layouts = tuple(Layout(name) for name in fields.pop("layouts"))
    return Proof(layouts=layouts, inputs=tuple(fields.pop("inputs", ())), **fields)
