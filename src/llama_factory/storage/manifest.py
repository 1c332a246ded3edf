"""The manifest: what a folder must hold to be whole.

In: a folder of plain files. Out: `MANIFEST.json`, every file with its size and sha256, and its
examination later. The file has one possible spelling for its content and carries its own hash,
so that not one bit of it can change unseen.
Deliberately ignores files that it does not list: a reader may leave a note in a folder.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llama_factory.errors import MachineError, OurFault
from llama_factory.storage.disk import hash_file, kind_of, letters, sync_folder, walk, write_new

NAME = "MANIFEST.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`files` by their path inside the folder, with `/` between its parts."""

    files: Mapping[str, Entry]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files.values())

    def to_bytes(self) -> bytes:
        files = {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in self.files.items()}
        body: dict[str, Any] = {"schema": SCHEMA, "files": files}
        body["sha256_of_the_rest"] = hashlib.sha256(_spell(body)).hexdigest()
        return _spell(body)


def seal(folder: Path, name: str = NAME) -> Manifest:
    """Hash and sync every file below `folder`, then write and sync its manifest."""
    files: dict[str, Entry] = {}
    for path, facts in walk(folder):
        if stat.S_ISDIR(facts.st_mode):
            sync_folder(path)
            continue
        inside = path.relative_to(folder).as_posix()
        if not stat.S_ISREG(facts.st_mode):
            raise MachineError("storage.not-plain", where=inside, found=kind_of(facts.st_mode))
        files[inside] = Entry(*hash_file(path, sync=True))
    if name in files:
        raise OurFault("storage.reserved-name", where=folder.name, manifest=name)
    if not files:
        raise OurFault("storage.nothing-written", where=folder.name)
    manifest = Manifest(files)
    write_new(folder / name, manifest.to_bytes())
    sync_folder(folder)
    return manifest


def read(folder: Path, name: str = NAME) -> Manifest:
    """The manifest as it was written, or a letter; the files themselves are not looked at."""
    path = folder / name
    try:
        with letters(path):
            data = path.read_bytes() if path.exists() else None
        if data is None:
            raise MachineError("storage.no-manifest", where=folder, manifest=name)
        content = json.loads(data)
        if isinstance(content, dict) and content.get("schema") not in (SCHEMA, None):
            raise MachineError("storage.other-schema", where=path, expected=SCHEMA, found=content["schema"])
        manifest = Manifest(
            {_safe(key): Entry(value["size"], value["sha256"]) for key, value in content["files"].items()}
        )
        changed = manifest.to_bytes() != data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MachineError(
            "storage.bad-manifest", where=path, reason=f"it cannot be read ({type(error).__name__})"
        ) from error
    if changed:
        raise MachineError("storage.bad-manifest", where=path, reason="its own hash does not fit")
    return manifest


def glance(folder: Path, name: str = NAME) -> Manifest:
    """Manifest, presence and sizes, without reading the files: enough for a list, not for loading."""
    manifest = read(folder, name)
    for inside, entry in manifest.files.items():
        path = folder / inside
        try:
            facts = path.lstat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MachineError("storage.missing-file", where=path) from error
        except OSError as error:
            raise MachineError("storage.failed", where=path, reason=error.strerror) from error
        if not stat.S_ISREG(facts.st_mode):
            raise MachineError("storage.not-plain", where=path, found=kind_of(facts.st_mode))
        if facts.st_size != entry.size:
            raise MachineError("storage.wrong-size", where=path, expected=entry.size, found=facts.st_size)
    return manifest


def verify(folder: Path, name: str = NAME) -> Manifest:
    """Everything that `glance` sees, and every byte of every file against its sha256."""
    manifest = glance(folder, name)
    for inside, entry in manifest.files.items():
        path = folder / inside
        with letters(path):
            size, found = hash_file(path)
        if size != entry.size:
            raise MachineError("storage.wrong-size", where=path, expected=entry.size, found=size)
        if found != entry.sha256:
            raise MachineError("storage.wrong-hash", where=path, expected=entry.sha256[:12], found=found[:12])
    return manifest


def _spell(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, indent=1).encode("ascii") + b"\n"


def _safe(inside: str) -> str:
    path = PurePosixPath(inside)
    if path.is_absolute() or ".." in path.parts or str(path) != inside or "\0" in inside:
        raise ValueError(inside)
    return inside
