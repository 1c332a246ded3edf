"""Folders with a number in their name: `checkpoint-500`.

In: the folder that holds them. Out: the newest one that is whole, and why newer ones are not.
The order is that of the numbers; clocks and time stamps are not asked. A pointer to "the latest"
does not exist, so none can be wrong.
Deliberately removes nothing that is newer than what it keeps, and never the last whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llama_factory.errors import LlamaFactoryError, MachineError
from llama_factory.storage.commit import remove_directory
from llama_factory.storage.manifest import glance, verify

PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder that was passed over, and the letter that says why."""

    path: Path
    error: LlamaFactoryError


def numbered(folder: Path, prefix: str = PREFIX) -> list[Path]:
    """All of them, newest first, whole or not."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _number(path, prefix) is not None and path.is_dir()]
    return sorted(found, key=lambda path: _number(path, prefix) or 0, reverse=True)


def find_newest(folder: Path, prefix: str = PREFIX) -> tuple[Path | None, list[Broken]]:
    """The newest one of which every byte is as it was written, and the newer ones that are not."""
    broken: list[Broken] = []
    for path in numbered(folder, prefix):
        try:
            verify(path)
        except MachineError as error:
            broken.append(Broken(path, error))
        else:
            return path, broken
    return None, broken


def newest_whole(folder: Path, prefix: str = PREFIX) -> list[Path]:
    """Those that look whole (manifest, presence, sizes), newest first; `verify` one before it is loaded."""
    return list(_looking_whole(folder, prefix))


def retain(folder: Path, limit: int, prefix: str = PREFIX) -> list[Path]:
    """Keep the `limit` newest whole ones and all that is newer than the oldest of them; return what was removed."""
    if limit < 1:
        raise ValueError(limit)
    kept = newest_whole(folder, prefix)[:limit]
    if len(kept) < limit:
        return []
    oldest = _number(kept[-1], prefix) or 0
    old = [path for path in numbered(folder, prefix) if (_number(path, prefix) or 0) < oldest]
    for path in reversed(old):
        remove_directory(path)
    return old


def _looking_whole(folder: Path, prefix: str) -> Iterator[Path]:
    for path in numbered(folder, prefix):
        try:
            glance(path)
        except MachineError:
            continue
        yield path


def _number(path: Path, prefix: str) -> int | None:
    found = re.fullmatch(re.escape(prefix) + r"([0-9]+)", path.name)
    return int(found[1]) if found else None
