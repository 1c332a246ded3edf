"""Names of well-known public data sets -> where they lie on the hubs and how their rows are read.

`public.json` is the table: name, hub names, format, columns, stage, language, licence as its card says. None of
them is part of this program, and none was downloaded where it was made: the table was written from what the hubs'
pages say, and a data set whose columns have changed since is refused by name when it is read. In: nothing.
Out: entries in the form of dataset_info.json, and rows for a list. It deliberately asks no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

TABLE = "public.json"
ABOUT = ("stage", "language", "licence")
"""What the table says beside the keys of a registry."""


class Public(NamedTuple):
    """One line of the list. stage: pt, sft, rm (preference pairs), kto; languages as on the card."""

    name: str
    stage: str
    language: str
    licence: str
    hub: str


def entries() -> dict[str, dict[str, Any]]:
    """Name -> what a dataset_info.json would say."""
    return {name: {key: value for key, value in said.items() if key not in ABOUT} for name, said in _table().items()}


def table() -> list[Public]:
    """Every known set, by name."""
    return [
        Public(name, said["stage"], said["language"], said["licence"], said.get("hf_hub_url") or said["ms_hub_url"])
        for name, said in sorted(_table().items())
    ]


def _table() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("llama_factory.data").joinpath(TABLE).read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
