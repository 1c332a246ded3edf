"""`dataset:` and `dataset_info.json` -> which file, and what its owner said about it.

In: names or bare paths, and `dataset_dir`. Out: one `Entry` each. The registry's schema is fully known: a key
that is not built yet is refused by that word, an unknown one with the nearest name, and a column or tag
that is given changes nothing about the others. It deliberately opens no data file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_factory import shipped as shipped_files
from llama_factory.data.jsonvalue import Json, Parser
from llama_factory.data.reading import type_name
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError, InputError
from llama_factory.records import Origin

REGISTRY = "dataset_info.json"
FORMATTINGS = ("alpaca", "sharegpt", "openai")
COLUMNS = ("prompt", "query", "response", "history", "messages", "system")
COLUMNS_PLANNED = ("tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
TAGS = (
    "role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag",
)  # fmt: skip
KEYS = ("file_name", "formatting", "columns", "tags")
KEYS_PLANNED = (
    "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name",
    "ranking", "subset", "split", "folder", "num_samples",
)  # fmt: skip
NAMES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set. `formatting`, `columns` and `tags` hold only what was said; None in `columns` means
    that the column is not to be read."""

    name: str
    path: Path
    shown: str
    formatting: str | None
    columns: Mapping[str, str | None]
    tags: Mapping[str, str]

    @property
    def said(self) -> str:
        """What shaped the rows beside the file, as one stable text for the key of the store."""
        return json.dumps([self.formatting, dict(self.columns), dict(self.tags)], sort_keys=True)


def shipped() -> Path:
    """The folder of the data sets that come with the program; its names are known everywhere."""
    return shipped_files.data_folder()


def find(name: str, dataset_dir: str) -> Entry:
    """A name of the registry in `dataset_dir`, of the shipped one, or the path of a file."""
    folder = Path(dataset_dir)
    if dataset_dir.startswith(("ONLINE", "REMOTE:")):
        raise InputError("data.hub-not-built", where="dataset_dir", found=dataset_dir)
    known: list[str] = []
    for place in (folder, shipped()):
        entries = _entries(place / REGISTRY)
        if name in entries:
            return _entry(name, entries[name], place)
        known += entries
    for path in (Path(name), folder / name):
        if path.is_file():
            return Entry(name=name, path=path, shown=str(path), formatting=None, columns={}, tags={})
    if "/" in name or Path(name).suffix.lower() in (".json", ".jsonl"):
        beside = [str(found) for found in Path(name).parent.glob("*.json*")]
        raise InputError("data.no-such-file", where="dataset", name=name, folder=folder, hint=hint(name, beside))
    names = sorted(set(known))
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    raise InputError(
        "data.unknown-name", where="dataset", name=name, registry=folder / REGISTRY, known=shown or "-",
        hint=hint(name, names),
    )  # fmt: skip


def names(dataset_dir: str) -> list[str]:
    """Every name that `dataset:` may say, for lists and help."""
    found = {name for place in (Path(dataset_dir), shipped()) for name in _entries(place / REGISTRY)}
    return sorted(found)


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


def _entry(name: str, said: Json, folder: Path) -> Entry:
    where = f"{folder / REGISTRY}: {name}"
    if not isinstance(said, dict):
        raise DataError("data.entry-shape", where=where, found=type_name(said))
    for key, value in said.items():
        if key in KEYS_PLANNED:
            if value not in (None, False):
                raise DataError("data.key-planned", where=where, key=key)
        elif key not in KEYS:
            near = hint(key, KEYS + KEYS_PLANNED)
            raise DataError("data.key-unknown", where=where, key=key, known=", ".join(KEYS), hint=near)
    file_name = said.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        raise DataError("data.no-file-name", where=where)
    formatting = said.get("formatting")
    if formatting is not None and formatting not in FORMATTINGS:
        near = hint(str(formatting), FORMATTINGS)
        known = ", ".join(FORMATTINGS)
        raise DataError("data.formatting-unknown", where=where, found=formatting, known=known, hint=near)
    columns = _mapping(said, "columns", COLUMNS, COLUMNS_PLANNED, where)
    tags = {key: tag for key, tag in _mapping(said, "tags", TAGS, (), where).items() if tag is not None}
    _refuse_twice(columns, "columns", where)
    _refuse_twice(tags, "tags", where)
    _refuse_other_formatting(formatting, columns, tags, where)
    path = folder / file_name
    return Entry(name=name, path=path, shown=str(path), formatting=formatting, columns=columns, tags=tags)


def _mapping(
    said: Mapping[str, Any], part: str, known: tuple[str, ...], planned: tuple[str, ...], where: str
) -> dict[str, str | None]:
    given = said.get(part)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise DataError("data.key-type", where=where, key=part, expected="object", found=type_name(given))
    for key, value in given.items():
        if key in planned and value is not None:
            raise DataError("data.key-planned", where=f"{where}: {part}", key=key)
        if key not in known + planned:
            near = hint(key, known + planned)
            listed = ", ".join(known)
            raise DataError("data.key-unknown", where=f"{where}: {part}", key=key, known=listed, hint=near)
        if value is not None and not (isinstance(value, str) and value):
            found = type_name(value)
            raise DataError("data.key-type", where=f"{where}: {part}", key=key, expected="string", found=found)
    return {key: value for key, value in given.items() if key in known}


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
