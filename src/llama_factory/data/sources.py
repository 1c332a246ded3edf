"""A data set's entry -> the files that its rows stand in, on this disk, and those rows one after the other.

In: an `Entry` as `registry.find` gives it: a file, a folder, a name on a hub, an address in a bucket. Out: the same
entry with `files`, fetched where they were not here, and with notes of what was taken and what left out. A
hub's data set is pinned to the commit that its name led to. It deliberately decides nothing about rows: which
files are meant is `splits`, how they are fetched `hub` and `bucket`, how they are read `reading`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

from llama_factory import storage
from llama_factory.data import bucket, hub, splits
from llama_factory.data.reading import Row, check_file, read_rows
from llama_factory.data.registry import DataFile, Entry
from llama_factory.data.words import listed
from llama_factory.errors import DataError, OurFault
from llama_factory.records import Finding

DEEPEST = 2
"""A folder of files may hold folders of files, and those nothing deeper: that would be another data set."""


def fetch(entry: Entry, cache: Path, token: str | None = None) -> Entry:
    """The entry with its files. What is on this disk costs a look at its names; a second call costs nothing."""
    if entry.files:
        return entry
    if entry.place == "file":
        return _here(entry)
    if entry.place == "cloud":
        root = bucket.fetch(entry.address, cache)
        return _here(replace(entry, path=root))
    return _from_hub(entry, cache, token)


def rows(entry: Entry) -> Generator[Row | DataError, None, None]:
    """Every row of every file, at most `num_samples` of them. What lies elsewhere must have been fetched.

    Closing it closes the file that is being read.
    """
    if not entry.files and entry.place == "file":
        entry = _here(entry)
    if not entry.files:
        raise OurFault("data.not-fetched", where=entry.shown)
    left = entry.num_samples
    for file in entry.files:
        with closing(read_rows(file.path, file.shown)) as found:
            for row in islice(found, left):
                left = None if left is None else left - 1
                yield row


def _here(entry: Entry) -> Entry:
    path = entry.path
    if not path.is_dir():
        _refuse_parts_of_a_file(entry)
        check_file(path, entry.shown)
        return replace(entry, files=(DataFile(path, entry.shown),))
    if entry.wanted.subset is not None:
        raise DataError("data.key-only-hub", where=entry.shown, key="subset")
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    deep = [
        name for name in names if name.count("/") >= DEEPEST and splits.is_data(name) and not splits.is_hidden(name)
    ]
    if deep:
        raise DataError("data.too-nested", where=entry.shown, name=deep[0])
    chosen = splits.choose(names, entry.wanted, splits.Card(), entry.shown)
    kinds = splits.mixed_kinds([*chosen.files, *_other_kinds(chosen)])
    if kinds:
        raise DataError("data.mixed-kinds", where=entry.shown, kinds=", ".join(kinds))
    return _with(entry, path, chosen)


def _other_kinds(chosen: splits.Chosen) -> list[str]:
    """Files of the same split that were left out, so for their kind alone."""
    return [name for name in chosen.left_out if (splits.split_of(name) or splits.TRAIN) == chosen.split]


def _refuse_parts_of_a_file(entry: Entry) -> None:
    for key in ("subset", "folder"):
        if getattr(entry.wanted, key) is not None:
            raise DataError("data.key-only-hub", where=entry.shown, key=key)
    if entry.wanted.split not in (None, splits.TRAIN):
        raise DataError("data.key-only-hub", where=entry.shown, key="split")


def _with(entry: Entry, root: Path, chosen: splits.Chosen) -> Entry:
    files = tuple(DataFile(root / name, f"{entry.shown}/{name}") for name in chosen.files)
    note = Finding(
        "data.files-chosen",
        "note",
        entry.shown,
        {"count": len(files), "split": chosen.split, "left": listed(chosen.left_out)},
    )
    return replace(entry, path=root, files=files, notes=(*entry.notes, note))


# --- hubs ----------------------------------------------------------------------------------------------------


def _from_hub(entry: Entry, cache: Path, token: str | None) -> Entry:
    client = hub.CLIENTS[entry.place](token)
    name = entry.address
    listing = _listing(client, name, cache)
    card = splits.Card()
    if entry.wanted.file is not None:
        chosen = splits.Chosen((entry.wanted.file,), splits.TRAIN)
    else:
        if hub.CARD in listing.files:
            root = client.fetch(name, listing.revision, [hub.CARD])
            card = splits.card_of((root / hub.CARD).read_text(encoding="utf-8", errors="replace"), name)
        _refuse_script(listing.files, name)
        chosen = splits.choose(listing.files, entry.wanted, card, name)
    root = client.fetch(name, listing.revision, chosen.files)
    missing = [file for file in chosen.files if not (root / file).is_file()]
    if missing:
        raise DataError("data.hub-incomplete", where=name, missing=listed(missing))
    pinned = replace(entry, shown=f"{name}@{listing.revision[:7]}", revision=listing.revision)
    return _with(pinned, root, chosen)


def _listing(client: hub.Client, name: str, cache: Path) -> hub.Listing:
    """The names of a repository's files, asked for; without a network those of the last time."""
    memory = cache / "hub" / f"{client.word}-{name.replace('/', '--')}.json"
    try:
        found = client.listing(name)
    except hub.UnreachableError as problem:
        known = _recall(memory) or client.cached(name)
        if known is None:
            raise client.letter(name, str(problem)) from problem
        return known
    storage.write_file(memory, json.dumps({"revision": found.revision, "files": found.files}))
    return found


def _recall(memory: Path) -> hub.Listing | None:
    try:
        plain = json.loads(memory.read_text(encoding="utf-8"))
        return hub.Listing(str(plain["revision"]), tuple(str(name) for name in plain["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_script(files: Sequence[str], name: str) -> None:
    """A repository whose rows only its own program can make."""
    script = f"{name.split('/')[-1]}.py"
    if script in files and not any(splits.is_data(file) for file in files):
        raise DataError("data.hub-script", where=name, script=script)
