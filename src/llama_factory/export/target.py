"""Whether a folder may be written: it is new, empty, or an earlier export of ours with nothing added to it.

In: `export_dir` and the folders that are read. Out: nothing, or a letter. Nothing is written or removed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from llama_factory import storage
from llama_factory.errors import InputError, MachineError

REPORT = "export_report.json"
MANIFEST = "MANIFEST.json"
KIND = "llama-factory export"


def check(target: Path, sources: Sequence[Path]) -> None:
    """Refuse a target that holds something else, or that one of the sources lies in."""
    real = target.resolve()
    for source in sources:
        other = source.resolve()
        if real == other or real in other.parents:
            raise InputError("export.onto-its-source", where=target, source=source)
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError("export.not-a-folder", where=target)
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if not present:
        return
    added = sorted(present - _ours(target))
    if added:
        raise InputError("export.folder-in-use", where=target, count=len(added), found=", ".join(added[:5]))


def _ours(target: Path) -> set[str]:
    """The files of an earlier export, none if this is not one."""
    try:
        if json.loads((target / REPORT).read_text("utf-8"))["kind"] != KIND:
            return set()
        listed = json.loads((target / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, MachineError):
        return set()
    return {*listed, MANIFEST}


def room(target: Path, needed: int) -> None:
    """Refuse before the work begins what the disk cannot hold."""
    free = storage.free_bytes(target.resolve())
    if free < needed:
        raise MachineError("export.no-room", where=target, needed=size(needed), free=size(free))


def size(count: int) -> str:
    return f"{count / 10**9:.2f} GB" if count >= 10**8 else f"{count / 10**6:.1f} MB"
