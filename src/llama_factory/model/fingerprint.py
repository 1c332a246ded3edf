"""Which weights a result belongs to: hashes of a model folder, and the note that a trained folder keeps of them.

In: a folder. Out: one hash of its weights, one of its configuration; `Birth`, the content of the
`llama_factory.json` that stands beside every trained adapter or model. An adapter put on another base gives
fluent nonsense, so the note is compared with the base whenever an adapter is opened.

Deliberately not here: comparing weights by value. Two foldings of the same weights into shards differ here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from llama_factory import storage
from llama_factory.errors import InputError
from llama_factory.model import weights as weight_files

NOTE = "llama_factory.json"
_LIBRARIES = ("llama-factory", "torch", "transformers", "peft", "tokenizers", "safetensors")
_STRENGTH = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")
_BESIDE_THE_POINT = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")


@dataclass(frozen=True)
class Birth:
    """What a trained folder remembers of its making."""

    base: str
    base_weights: str
    base_config: str
    template: str
    template_fingerprint: str
    method: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    beneath: tuple[Mapping[str, str], ...] = ()
    """Adapters that were on the base while this one was trained: `name` as it was written, `adapter` the hash."""

    def text(self) -> str:
        return json.dumps({"kind": "trained", **asdict(self)}, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def weights(folder: Path) -> str:
    """sha256 over the names and hashes of the folder's safetensors files."""
    return storage.digest({file.name: storage.file_digest(file) for file in weight_files.files(folder)})


def config(folder: Path) -> str:
    """sha256 over what `config.json` says about the computation; notes on how it was saved do not count."""
    said: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    kept = {key: value for key, value in said.items() if key not in _BESIDE_THE_POINT}
    return storage.digest({"config": json.dumps(kept, sort_keys=True)})


def adapter(folder: Path) -> str:
    """sha256 over an adapter: its weights, and what its configuration says about their strength."""
    said: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    strength = {key: said.get(key) for key in _STRENGTH}
    held = storage.file_digest(folder / "adapter_model.safetensors")
    return storage.digest({"weights": held, "strength": json.dumps(strength, sort_keys=True)})


def read(folder: Path) -> Birth | None:
    """The folder's note, None if it was not made here."""
    file = folder / NOTE
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text("utf-8"))
        beneath = tuple({"name": str(one["name"]), "adapter": str(one["adapter"])} for one in said.get("beneath", ()))
        names = [name for name in Birth.__dataclass_fields__ if name != "beneath"]  # notes of earlier releases lack it
        return Birth(**{name: said[name] for name in names}, beneath=beneath)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("model.broken-note", where=file, found=str(error)) from error


def versions() -> dict[str, str]:
    """The libraries whose version a result depends on."""
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
