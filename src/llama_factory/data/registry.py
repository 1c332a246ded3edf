"""`dataset:` and `dataset_info.json` -> what is meant, where it lies, and what its owner said about it.

In: names, bare paths or `owner/name` of a hub, and `dataset_dir`. Out: one `Entry` each. The registry's schema is
fully known: every key is read or refused with its reason, an unknown one with the nearest name, and a column or
tag that is given changes nothing about the others. It deliberately opens no data file and, but for a registry
that itself lies on a hub (`dataset_dir: REMOTE:owner/name`), asks no network: that is `sources`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llama_factory import shipped as shipped_files
from llama_factory.data import hub, kinds, public
from llama_factory.data.jsonvalue import Json, Parser, type_name
from llama_factory.data.splits import Wanted
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError, InputError
from llama_factory.records import Finding, Origin

REGISTRY = "dataset_info.json"
ONLINE = "ONLINE"
REMOTE = "REMOTE:"
FORMATTINGS = ("alpaca", "sharegpt", "openai")
COLUMNS = (
    "prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios",
    "chosen", "rejected", "kto_tag",
)  # fmt: skip
TAGS = (
    "role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag",
)  # fmt: skip
SOURCES = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")
KEYS: Mapping[str, str] = {
    **dict.fromkeys((*SOURCES, "subset", "split", "folder"), "string"),
    "formatting": "string",
    "columns": "object",
    "tags": "object",
    "ranking": "boolean",
    "num_samples": "number",
}
"""Every key, and the type of its value."""

NAMES_SHOWN = 12
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

Place = Literal["file", "hf", "ms", "cloud"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file that is read; `shown` is its name in every message."""

    path: Path
    shown: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set. `formatting`, `columns` and `tags` hold only what was said; None in `columns` means
    that the column is not to be read.

    ranking: every row is a pair of answers, `chosen` and `rejected`.
    num_samples: the first so many rows are read; None: all.
    place, address: where the files are fetched from; `wanted`: which part of what lies there.
    files, revision, notes: filled in by `sources.fetch`; before it nothing is known about the files.
    """

    name: str
    path: Path
    shown: str
    formatting: str | None
    columns: Mapping[str, str | None]
    tags: Mapping[str, str]
    ranking: bool = False
    num_samples: int | None = None
    place: Place = "file"
    address: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    files: tuple[DataFile, ...] = ()
    revision: str = ""
    notes: tuple[Finding, ...] = ()

    @property
    def said(self) -> str:
        """What shaped the rows beside the files, as one stable text for the key of the store."""
        parts = [self.formatting, dict(self.columns), dict(self.tags), self.ranking, self.num_samples]
        return json.dumps(parts, sort_keys=True)


def shipped() -> Path:
    """The folder of the data sets that come with the program; its names are known everywhere."""
    return shipped_files.data_folder()


def find(name: str, dataset_dir: str, environ: Mapping[str, str] = os.environ) -> Entry:
    """A name of the registry in `dataset_dir`, of the shipped one or of the public sets, a path, or a hub's name.

    environ: USE_MODELSCOPE_HUB=1 prefers ModelScope where both hubs have it.
    """
    from_ms = uses_modelscope(environ)
    if dataset_dir == ONLINE:
        return _hub_entry(name, from_ms)
    folder = Path(dataset_dir)
    known: list[str] = []
    for place, entries in _registries(dataset_dir, from_ms):
        if name in entries:
            return _entry(name, entries[name], place, from_ms)
        known += entries if place.shown != public.TABLE else ()
    for path in (Path(name), folder / name):
        if path.is_file() or ("/" in name.rstrip("/") and path.is_dir()):
            return Entry(name=name, path=path, shown=str(path), formatting=None, columns={}, tags={})
    if name.startswith(("s3://", "gs://", "gcs://")):
        return _entry(name, {"cloud_file_name": name}, _Registry("", folder), from_ms)
    if _is_hub_name(name):
        return _hub_entry(name, from_ms)
    if "/" in name or kinds.named(name) is not None:
        beside = [str(found) for found in Path(name).parent.glob("*") if kinds.named(found.name)]
        raise InputError("data.no-such-file", where="dataset", name=name, folder=folder, hint=hint(name, beside))
    names = sorted(set(known))
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    raise InputError(
        "data.unknown-name", where="dataset", name=name, registry=folder / REGISTRY, known=shown or "-",
        hint=hint(name, [*names, *public.entries()]),
    )  # fmt: skip


def uses_modelscope(environ: Mapping[str, str]) -> bool:
    return environ.get("USE_MODELSCOPE_HUB", "").lower() in ("1", "true", "y", "yes", "on")


def names(dataset_dir: str) -> list[str]:
    """Every name of the registries on this disk, for lists and help. Public sets are listed by `public`."""
    found = {name for place in (Path(dataset_dir), shipped()) for name in _entries(place / REGISTRY)}
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Registry:
    """Where a table of entries stands, and where the files that it names lie: a folder, or a hub's repository."""

    shown: str
    folder: Path
    repository: str = ""


def _registries(dataset_dir: str, from_ms: bool) -> Iterator[tuple[_Registry, Mapping[str, Any]]]:
    """The user's own, the one that comes with the program, the public sets: the first that has a name decides."""
    if dataset_dir.startswith(REMOTE):
        repository = dataset_dir.removeprefix(REMOTE)
        path = _remote_registry(repository, from_ms)
        yield _Registry(f"{repository}/{REGISTRY}", Path(dataset_dir), repository), _entries(path)
    for folder in (Path(dataset_dir), shipped()):
        yield _Registry(str(folder / REGISTRY), folder), _entries(folder / REGISTRY)
    yield _Registry(public.TABLE, Path()), public.entries()


def _remote_registry(repository: str, from_ms: bool) -> Path:
    client = hub.CLIENTS["ms" if from_ms else "hf"](None)
    try:
        listing = client.listing(repository)
    except hub.UnreachableError as problem:
        known = client.cached(repository)
        if known is None:
            raise client.letter(repository, str(problem)) from problem
        listing = known
    if REGISTRY not in listing.files:
        raise DataError("data.no-remote-registry", where=repository, found=listed(listing.files))
    return client.fetch(repository, listing.revision, [REGISTRY]) / REGISTRY


def _is_hub_name(name: str) -> bool:
    """`owner/name`, unless `owner` is a folder here or the name ends as a data file does: then a path was meant."""
    return bool(HUB_NAME.fullmatch(name)) and not Path(name).parent.is_dir() and kinds.named(name) is None


def _hub_entry(name: str, from_ms: bool) -> Entry:
    place: Place = "ms" if from_ms else "hf"
    return Entry(
        name=name, path=Path(name), shown=name, formatting=None, columns={}, tags={}, place=place, address=name
    )


def _entries(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    parser = Parser()
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = parser.whole(text)
    except json.JSONDecodeError as problem:
        raise DataError(
            "data.registry-broken", where=path, line=problem.lineno, column=problem.colno, reason=problem.msg
        ) from None
    except UnicodeDecodeError as problem:
        raise DataError(
            "data.not-utf8", where=path, offset=problem.start, byte=f"0x{problem.object[problem.start]:02x}"
        ) from None
    except (OSError, ValueError, RecursionError) as problem:
        raise DataError("data.unreadable", where=path, reason=str(problem)) from None
    if fault := parser.fault(value, text, Origin(str(path), 1)):
        raise DataError(fault.id, where=path, **fault.values)
    if not isinstance(value, dict):
        raise DataError("data.registry-shape", where=path, found=type_name(value))
    return value


def _entry(name: str, said: Json, registry: _Registry, from_ms: bool) -> Entry:
    where = f"{registry.shown}: {name}"
    if not isinstance(said, dict):
        raise DataError("data.entry-shape", where=where, found=type_name(said))
    given = {key: value for key, value in said.items() if value is not None}
    _refuse_wrong_keys(said, given, where)
    formatting = given.get("formatting")
    if formatting is not None and formatting not in FORMATTINGS:
        near = hint(formatting, FORMATTINGS)
        known = ", ".join(FORMATTINGS)
        raise DataError("data.formatting-unknown", where=where, found=formatting, known=known, hint=near)
    columns = _mapping(given, "columns", COLUMNS, where)
    tags = {key: tag for key, tag in _mapping(given, "tags", TAGS, where).items() if tag is not None}
    _refuse_twice(columns, "columns", where)
    _refuse_twice(tags, "tags", where)
    _refuse_other_formatting(formatting, columns, tags, where)
    ranking = given.get("ranking") is True
    if ranking and columns.get("kto_tag"):
        raise DataError("data.two-judgements", where=where)
    if ranking:  # named, so that rows without them are refused
        columns = {"chosen": "chosen", "rejected": "rejected", **columns}
    place, address, path = _source(given, registry, from_ms, where)
    wanted = Wanted(given.get("subset"), given.get("split"), given.get("folder"))
    if registry.repository and place in ("hf", "ms") and "file_name" in given and address == registry.repository:
        wanted = Wanted(file=given["file_name"])
    return Entry(
        name=name, path=path, shown=address or str(path), formatting=formatting, columns=columns, tags=tags,
        ranking=ranking, num_samples=given.get("num_samples"), place=place, address=address, wanted=wanted,
    )  # fmt: skip


def _refuse_wrong_keys(said: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    for key in said:
        if key not in KEYS:
            raise DataError("data.key-unknown", where=where, key=key, known=", ".join(KEYS), hint=hint(key, KEYS))
    if not any(given.get(key) for key in SOURCES):
        raise DataError("data.no-file-name", where=where, known=", ".join(SOURCES))
    for key, value in given.items():
        if type_name(value) != KEYS[key] or value == "":
            raise DataError("data.key-type", where=where, key=key, expected=KEYS[key], found=type_name(value))
    count = given.get("num_samples", 1)
    if count != int(count) or count < 1:
        raise DataError("data.num-samples", where=where, found=count)


def _source(given: Mapping[str, Any], registry: _Registry, from_ms: bool, where: str) -> tuple[Place, str, Path]:
    """Where the rows are fetched from: a hub before a bucket before a file, as users of such registries expect."""
    hubs = {"hf": given.get("hf_hub_url"), "ms": given.get("ms_hub_url")}
    order: tuple[Literal["hf", "ms"], ...] = ("ms", "hf") if from_ms else ("hf", "ms")
    for place in order:
        if address := hubs[place]:
            return place, address, Path(address)
    if address := given.get("cloud_file_name"):
        return "cloud", address, Path(address)
    if name := given.get("file_name"):
        if registry.repository and not Path(name).is_absolute():
            return order[0], registry.repository, Path(name)
        return "file", "", registry.folder / name
    if "script_url" in given:
        raise DataError("data.script", where=where)
    raise DataError("data.openmind", where=where)


def _mapping(said: Mapping[str, Any], part: str, known: tuple[str, ...], where: str) -> dict[str, str | None]:
    given = said.get(part) or {}
    for key, value in given.items():
        if key not in known:
            listed_keys = ", ".join(known)
            near = hint(key, known)
            raise DataError("data.key-unknown", where=f"{where}: {part}", key=key, known=listed_keys, hint=near)
        if value is not None and not (isinstance(value, str) and value):
            found = type_name(value)
            raise DataError("data.key-type", where=f"{where}: {part}", key=key, expected="string", found=found)
    return dict(given)


def _refuse_twice(given: Mapping[str, str | None], part: str, where: str) -> None:
    taken: dict[str, str] = {}
    for key, value in given.items():
        if value is not None and value in taken:
            raise DataError("data.used-twice", where=f"{where}: {part}", first=taken[value], second=key, found=value)
        if value is not None:
            taken[value] = key


def _refuse_other_formatting(
    formatting: str | None, columns: Mapping[str, str | None], tags: Mapping[str, str], where: str
) -> None:
    """`formatting: alpaca` with a messages column, or tags beside a prompt column, cannot both be meant."""
    tabular = [key for key in ("prompt", "query", "response", "history") if columns.get(key)]
    spoken = (["columns.messages"] if columns.get("messages") else []) + [f"tags.{key}" for key in tags]
    if formatting == "alpaca" and spoken:
        raise DataError("data.columns-differ", where=where, formatting=formatting, key=spoken[0])
    if formatting in ("sharegpt", "openai") and tabular:
        raise DataError("data.columns-differ", where=where, formatting=formatting, key=f"columns.{tabular[0]}")
    if formatting is None and spoken and tabular:
        raise DataError("data.columns-differ", where=where, formatting="alpaca", key=spoken[0])


def bad_column(entry: Entry, role: str, column: str, seen: set[str]) -> DataError:
    """A column that the registry names and no row has."""
    keys = sorted(seen)
    return DataError(
        "data.column-nowhere", where=entry.shown, role=role, column=column, keys=listed(keys),
        hint=hint(column, keys),
    )  # fmt: skip
