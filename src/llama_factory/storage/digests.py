"""Names made from content, and the folder for what can be made again.

In: values or files. Out: sha256 in hexadecimal. A file's digest is remembered by everything the
system says about the file; where any of it changed, or changed too recently to be sure, it is read again.
Deliberately never used to examine a checkpoint: `verify` always reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from llama_factory.errors import MachineError
from llama_factory.storage.commit import write_file
from llama_factory.storage.disk import hash_file, letters

_SETTLED_NS = 2_000_000_000
"""A file touched this recently may change again within the same tick of its file system's clock."""


def digest(parts: Mapping[str, str | bytes | int | float | None]) -> str:
    """A stable key for a set of named values; 1, 1.0, "1" and b"1" are four different ones."""
    plain = {
        name: {"bytes": hashlib.sha256(value).hexdigest()} if isinstance(value, bytes) else value
        for name, value in parts.items()
    }
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path, *, cache: Path | None = None) -> str:
    """sha256 of a file. `cache` is the folder that remembers, `cache_folder()` when not given."""
    path = Path(os.path.realpath(path))
    with letters(path):
        before = _facts(path)
        memory = (cache or cache_folder(os.environ)) / "digests" / hashlib.sha256(os.fsencode(path)).hexdigest()
        known = _recall(memory)
        if known.get("facts") == before and isinstance(found := known.get("sha256"), str):
            return found
        _, result = hash_file(path)
        if _facts(path) == before and time.time_ns() - max(before[2:]) > _SETTLED_NS:
            _remember(memory, before, result)
    return result


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where token stores and digests live. Not created here."""
    if named := environ.get("LLAMA_FACTORY_CACHE"):
        return Path(named).expanduser()
    xdg = environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if os.path.isabs(xdg) else Path(environ.get("HOME") or Path.home()) / ".cache"
    return base / "llama_factory"


def _facts(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _recall(memory: Path) -> dict[str, object]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(memory: Path, facts: list[int], result: str) -> None:
    try:
        write_file(memory, json.dumps({"facts": facts, "sha256": result}))
    except MachineError:
        return  # a cache that cannot be written costs time, nothing else
