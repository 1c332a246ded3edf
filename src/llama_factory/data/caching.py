"""The same file, options and renderer a second time: the rows of the first time, opened in milliseconds.

In: an `Entry`, a renderer, options, the cache folder. Out: the opened `Part`, whether it was there, and
if not, what differs from the nearest one that is. The key holds everything that shaped the rows, the
program's own source included, so that nothing stale can be met; every file is compared with its sha256
before it is used. Two processes may do this at once: each writes aside, the first to finish is
taken by both. It deliberately does not look inside the rows.

    <cache>/tokens/<file name>-<digest of its path>/<key>/
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llama_factory import storage
from llama_factory.data.building import Options, Renders, build, several
from llama_factory.data.registry import Entry
from llama_factory.data.sources import fetch
from llama_factory.data.store import Part
from llama_factory.data.summary import Account, Found
from llama_factory.errors import DataError, InputError, LlamaFactoryError, MachineError

KEPT_STORES = 8
"""Stores kept for one file; older ones are removed when a new one is written."""

SAID_IN_FULL = (
    "cutoff_len", "on_too_long", "max_samples", "what is learned", "stage", "path", "revision", "encoder",
)  # fmt: skip
"""Parts of the key that a person can read; of the others only the name is said."""

Value = str | int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """`changed`: what made it a miss, or which file was damaged."""

    part: Part
    account: Account
    found: Found
    changed: tuple[str, ...]


def open_or_build(
    entry: Entry, renderer: Renders, options: Options, cache: Path, progress: Callable[[int], None]
) -> Opened:
    """The rows of one data set. A store that was built while skipping bad rows serves `on_bad_row: error` too:
    it remembers them, and says them."""
    entry = fetch(entry, cache)
    before = _stamp(entry)
    key = key_of(entry, renderer, options, cache)
    place = _place(entry, cache)
    folder = place / storage.digest(key)[:32]
    damage = ""
    part = None
    if folder.is_dir():
        try:
            part = _open(folder, cache)
            with suppress(OSError):
                os.utime(folder)
        except LlamaFactoryError as error:
            damage = Path(error.where).name or error.id
    how: Found = "hit"
    changed: tuple[str, ...] = ()
    if part is None:
        changed = (damage,) if damage else _changes(place, key)
        how = "damaged" if damage else "miss" if changed else "new"
        part = _build(entry, renderer, options, folder, key, progress, cache)
        if _stamp(entry) != before:
            storage.remove_directory(folder)
            raise DataError("data.changed-while-reading", where=entry.shown)
        _prune(place, folder)
    account = Account.from_json(part.meta["account"])
    if account.bad and options.on_bad_row == "error":
        raise several([DataError(row.id, where=row.where, **row.values) for row in account.bad_rows], account.bad)
    return Opened(part, account, how, changed)


def key_of(entry: Entry, renderer: Renders, options: Options, cache: Path) -> dict[str, Value]:
    """Everything that shapes the rows, under the names that a person is told when one of them changed."""
    return {
        "file": _content(entry, cache),
        "path": entry.shown,
        "revision": entry.revision,
        "dataset_info.json": entry.said,
        **shape_of(renderer, options),
        "llama_factory": code_digest(),
    }


def shape_of(renderer: Renders, options: Options) -> dict[str, Value]:
    """The part of a key that is the same for every file of a run."""
    return {
        "template or tokenizer": renderer.fingerprint,
        "encoder": renderer.encoder,
        "cutoff_len": options.cutoff_len,
        "on_too_long": options.fitting,
        "max_samples": options.max_samples,
        "what is learned": options.learned,
        "stage": options.stage,
    }


def _content(entry: Entry, cache: Path) -> str:
    """What stands in the files, and of several also their names and their order."""
    found = {f"{at}:{file.shown}": storage.file_digest(file.path, cache=cache) for at, file in enumerate(entry.files)}
    return storage.digest(found) if len(found) > 1 else next(iter(found.values()))


def code_digest() -> str:
    """The source that makes rows and words: what other code made is not taken for what this one makes."""
    seal = hashlib.sha256()
    package = resources.files("llama_factory")
    for room in ("data", "render", "errors/letters"):
        for file in sorted(package.joinpath(room).iterdir(), key=lambda file: file.name):
            if file.name.endswith((".py", ".json")):
                seal.update(f"{room}/{file.name}".encode() + b"\0" + file.read_bytes())
    return seal.hexdigest()


def _build(
    entry: Entry,
    renderer: Renders,
    options: Options,
    folder: Path,
    key: Mapping[str, Value],
    progress: Callable[[int], None],
    cache: Path,
) -> Part:
    def write(aside: Path) -> None:
        build(entry, renderer, options, aside, key, progress)

    try:
        storage.write_directory(folder, write, replace=folder.exists())
    except InputError as error:
        if error.id != "storage.exists":
            raise
    return _open(folder, cache)


def _open(folder: Path, cache: Path) -> Part:
    """Presence, sizes, and the sha256 of each file, which `storage` remembers as long as the file is untouched."""
    manifest = storage.glance(folder)
    for name, entry in manifest.files.items():
        if storage.file_digest(folder / name, cache=cache) != entry.sha256:
            raise MachineError("storage.wrong-hash", where=folder / name, expected=entry.sha256[:12], found="?")
    return Part.open(folder)


def _changes(place: Path, key: Mapping[str, Value]) -> tuple[str, ...]:
    """What differs from the store that differs least; nothing when there is none."""
    found: list[tuple[str, ...]] = []
    for other in place.glob("*/meta.json"):
        try:
            theirs = json.loads(other.read_text(encoding="utf-8"))["key"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(changes_of(theirs, key))
    found.sort(key=lambda changes: (len(changes), changes))
    return found[0] if found else ()


def changes_of(old: Mapping[str, Any], new: Mapping[str, Value]) -> tuple[str, ...]:
    """What of `new` differs from `old`, in words."""
    return tuple(_change(name, old.get(name), new[name]) for name in new if old.get(name) != new[name])


def _change(name: str, old: object, new: object) -> str:
    return f"{name} {old} -> {new}" if name in SAID_IN_FULL else name


def _place(entry: Entry, cache: Path) -> Path:
    real = f"{entry.place}:{entry.address}" if entry.address else os.path.realpath(entry.path)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(entry.address or entry.path).stem)[:40]
    return cache / "tokens" / f"{stem}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}"


def _prune(place: Path, newest: Path) -> None:
    """A process that has one of them mapped keeps what it has; one that is just opening it builds anew."""
    others = []
    for meta in place.glob("*/meta.json"):
        with suppress(OSError):
            others.append((meta.parent.stat().st_mtime_ns, meta.parent))
    others = sorted(other for other in others if other[1] != newest)
    for _, folder in others[: -(KEPT_STORES - 1)]:
        storage.remove_directory(folder)


def _stamp(entry: Entry) -> tuple[tuple[int, int, int], ...]:
    found = []
    for file in entry.files:
        try:
            facts = file.path.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)
