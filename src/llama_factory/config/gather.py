"""Flat keys in, a `Run` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llama_factory.config.keys import leaves
from llama_factory.config.run import Given, Run
from llama_factory.config.values import Plain


def from_mapping(mapping: Mapping[str, Any], where: str) -> Run:
    nested: dict[str, Any] = {}
    for key, value in mapping.items():
        place = nested
        for part in leaves(Run)[key].path:
            place = place.setdefault(part, {})
        place[key] = value
    return Run.model_validate(nested, context=Given(where, {key: where for key in mapping}))


def load(file: Path | None, words: Sequence[str] = ()) -> Run:
    found = yaml.safe_load(file.read_text("utf-8")) if file else {}
    for word in words:
        key, _, value = word.lstrip("-").partition("=")
        found[key] = Plain(value or "true")
    return from_mapping(found, str(file or ""))
