"""`tokenized_path`: the token stores of a run, put into a folder of the user's own, and taken from there.

In: a folder, the opened stores of a run, or what this run would make. Out: the folder written whole, or the stores that
lie in it. A folder that this run would have filled otherwise is refused, with all that differs by name: rows of another
template are never trained on unsaid. Where a data file is still there, its rows must be the ones that lie here; where
it is not, the folder is enough, which is what it is for. It deliberately tokenises nothing.

    <tokenized_path>/tokenized.json     which data sets lie here, and in which order
    <tokenized_path>/train-0/, ...      one `data.store` folder each
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_factory import storage
from llama_factory.data.caching import Value, changes_of
from llama_factory.data.store import Part
from llama_factory.data.summary import Account, Found
from llama_factory.errors import InputError, LlamaFactoryError, MachineError
from llama_factory.storage.manifest import NAME as MANIFEST

INDEX = "tokenized.json"
FORMAT = 1

KeyOf = Callable[[str], Mapping[str, Value]]
"""The key that a data set of this name would have in this run. Raises LlamaFactoryError where its file is not here."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One data set, opened. `found`, `changed`: how its store was met, as `caching` says it."""

    name: str
    part: Part
    account: Account
    found: Found = "hit"
    changed: tuple[str, ...] = ()


Sets = Mapping[str, Sequence[Kept]]
"""By use, `train` or `eval`."""


def is_there(place: Path) -> bool:
    """Whether anything lies there: an empty folder is as good as none."""
    return place.is_dir() and any(place.iterdir())


def write(place: Path, sets: Sets) -> None:
    """Copies, so that the cache may be emptied."""

    def fill(folder: Path) -> None:
        index: dict[str, Any] = {"format": FORMAT}
        for use, kept in sets.items():
            index[use] = [one.name for one in kept]
            for number, one in enumerate(kept):
                ignore = shutil.ignore_patterns(MANIFEST)
                shutil.copytree(one.part.folder, folder / f"{use}-{number}", ignore=ignore)
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    storage.write_directory(place, fill)


def read(
    place: Path, names: Mapping[str, Sequence[str]], key_of: KeyOf, shape: Mapping[str, Value], cache: Path
) -> dict[str, list[Kept]]:
    """What lies there. names: what the run asks for, by use; a run that names nothing takes what there is.

    shape: the part of a key that does not depend on the file. Raises InputError `data.tokenized-...`.
    """
    index = _index(place)
    _refuse_changed_bytes(place, cache)
    found: dict[str, list[Kept]] = {}
    differences: list[str] = []
    for use, asked in names.items():
        stored = [str(name) for name in index.get(use, [])]
        if any(names.values()) and list(asked) != stored:
            key = "dataset" if use == "train" else "eval_dataset"
            differences.append(f"{key} {', '.join(stored) or '-'} -> {', '.join(asked) or '-'}")
            continue
        found[use] = []
        for number, name in enumerate(stored):
            part = Part.open(place / f"{use}-{number}")
            differences += [f"{name}: {one}" for one in _differing(part.meta["key"], name, key_of, shape)]
            found[use].append(Kept(name, part, Account.from_json(part.meta["account"])))
    if differences:
        raise InputError("data.tokenized-differs", where=place, differences="; ".join(differences))
    return found


def _differing(stored: Mapping[str, Any], name: str, key_of: KeyOf, shape: Mapping[str, Value]) -> tuple[str, ...]:
    """What this run would make otherwise; of a file that is not here nothing can be said."""
    try:
        now = dict(key_of(name))
    except LlamaFactoryError:
        return changes_of(stored, shape)
    for what in ("llama_factory", "path"):  # another release or another place makes no other rows
        now.pop(what, None)
    return changes_of(stored, now)


def _index(place: Path) -> Mapping[str, Any]:
    try:
        index: dict[str, Any] = json.loads((place / INDEX).read_text(encoding="utf-8"))
        is_ours = index["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise InputError("data.tokenized-foreign", where=place)
    return index


def _refuse_changed_bytes(place: Path, cache: Path) -> None:
    """Every file against its sha256, which `storage` remembers as long as the file is untouched."""
    for name, entry in storage.glance(place).files.items():
        found = storage.file_digest(place / name, cache=cache)
        if found != entry.sha256:
            raise MachineError("storage.wrong-hash", where=place / name, expected=entry.sha256[:12], found=found[:12])
