"""Names of files -> those that hold the wanted part of a data set, by the rules that hubs and folders follow.

In: paths relative to a folder or a repository, what is wanted of them (`subset`, `split`, `folder`), and what the
repository's card says (`configs`). Out: the files to read, in order, the split that they are, and what was left
out. Where the card lists the files of a subset, the card decides; else the names do: `train`, `validation`,
`test` and their usual other names in a file or a folder, or `<split>-00000-of-00004`. A shard that is missing
is an error. It deliberately opens no file and knows no hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from llama_factory.data import kinds
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError

TRAIN = "train"
WORDS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
NO_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "requirements.txt")
"""Files that stand beside data and describe it. Licences and the like are .txt without being text to learn."""
NO_DATA_STEMS = ("license", "licence", "readme", "notice")

KIND_ORDER: tuple[kinds.Kind, ...] = ("parquet", "json", "csv", "arrow", "txt")
"""Where a repository has one split as several kinds of files, the first of these is read: they are copies."""

_BETWEEN = r"[ ._\-/0-9]"
_WORD = {split: re.compile(rf"(?:^|{_BETWEEN})(?:{'|'.join(words)})(?:{_BETWEEN}|$)") for split, words in WORDS.items()}
_SHARD = re.compile(r"(?P<before>.*?)-(?P<at>\d{5})-of-(?P<of>\d{5})(?P<after>[^/]*)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the registry says beside the name; None says nothing. file: one file of a repository, and no other."""

    subset: str | None = None
    split: str | None = None
    folder: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """`left_out` are data files that are not read: other splits, other kinds, hidden ones."""

    files: tuple[str, ...]
    split: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """`configs:` of a repository's card: for each subset, patterns by split, and the folder they start from."""

    patterns: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    @property
    def subsets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.patterns, *self.folders)))


def is_data(name: str) -> bool:
    path = PurePosixPath(name)
    stem = path.name.lower().split(".")[0]
    return kinds.named(name) is not None and path.name.lower() not in NO_DATA and stem not in NO_DATA_STEMS


def is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__")) for part in PurePosixPath(name).parts)


def choose(names: Sequence[str], wanted: Wanted, card: Card, where: str) -> Chosen:
    """The files to read. `where` is the name of the data set, for letters."""
    data = sorted(name for name in names if is_data(name) and not is_hidden(name))
    hidden = sorted(name for name in names if is_data(name) and is_hidden(name))
    if not data:
        raise DataError("data.no-data-files", where=where, found=listed(sorted(names)), known=", ".join(kinds.KINDS))
    by_split = _by_split(data, wanted, card, where)
    split = _split(by_split, wanted.split, where)
    files = by_split[split]
    found = sorted({_kind(name) for name in files}, key=KIND_ORDER.index)
    files = [name for name in files if _kind(name) == found[0]]
    refuse_missing_shards(files, where)
    return Chosen(tuple(files), split, (*(name for name in data if name not in files), *hidden))


def mixed_kinds(names: Sequence[str]) -> list[str]:
    """The suffixes of the data files where they are of more than one kind."""
    found = {_kind(name) for name in names if is_data(name) and not is_hidden(name)}
    return sorted(found) if len(found) > 1 else []


def refuse_missing_shards(files: Sequence[str], where: str) -> None:
    """`-00002-of-00004` says how many there are: fewer means that something was not copied."""
    shards: dict[tuple[str, int, str], set[int]] = {}
    for name in files:
        if found := _SHARD.fullmatch(name):
            key = (found["before"], int(found["of"]), found["after"])
            shards.setdefault(key, set()).add(int(found["at"]))
    for (before, count, after), there in shards.items():
        missing = [at for at in range(count) if at not in there]
        if missing and not (missing == [0] and count in there):  # some number from 1
            name = f"{before}-{missing[0]:05d}-of-{count:05d}{after}"
            raise DataError("data.shard-missing", where=where, name=name, missing=len(missing), count=count)


def split_of(name: str) -> str | None:
    """The split that a file's path says, if it says one; the file's own name goes before those of its folders."""
    parts = PurePosixPath(name).parts
    shard = _SHARD.fullmatch(parts[-1])
    if shard and parts[0] == "data":
        word = shard["before"]
        return next((split for split, words in WORDS.items() if word.lower() in words), word)
    for part in reversed(parts):
        stem = part.lower().split(".")[0] if part is parts[-1] else part.lower()
        for split, pattern in _WORD.items():
            if pattern.search(stem):
                return split
    return None


def _by_split(data: Sequence[str], wanted: Wanted, card: Card, where: str) -> dict[str, list[str]]:
    if wanted.folder is not None:
        below = _below(data, wanted.folder)
        if not below:
            folders = sorted({str(PurePosixPath(name).parent) for name in data})
            near = hint(wanted.folder, folders)
            raise DataError("data.no-folder", where=where, folder=wanted.folder, hint=near, known=listed(folders))
        return _by_name(below)
    if not card.subsets:
        return _by_name(data if wanted.subset is None else _folder_as_subset(data, wanted.subset, where))
    subset = _subset(card, wanted.subset, where)
    start = card.folders.get(subset, "")
    if subset not in card.patterns:
        return _by_name(_below(data, start))
    try:
        found = {split: _matching(data, start, patterns) for split, patterns in card.patterns[subset].items()}
    except re.error as problem:
        raise DataError("data.card-broken", where=where, reason=f"data_files: {problem}") from problem
    return {split: files for split, files in found.items() if files}


def _by_name(data: Sequence[str]) -> dict[str, list[str]]:
    """Files without a split in their name are the training rows, unless others say that they are."""
    found: dict[str, list[str]] = {}
    for name in data:
        found.setdefault(split_of(name) or "", []).append(name)
    unnamed = found.pop("", [])
    if unnamed and TRAIN not in found:
        found[TRAIN] = unnamed
    return found


def _split(by_split: Mapping[str, Sequence[str]], wanted: str | None, where: str) -> str:
    if wanted is None and len(by_split) == 1:
        return next(iter(by_split))
    split = wanted or TRAIN
    if split in by_split:
        return split
    known = sorted(by_split)
    raise DataError("data.no-split", where=where, split=split, hint=hint(split, known), known=listed(known))


def _subset(card: Card, wanted: str | None, where: str) -> str:
    known = card.subsets
    if wanted is None and (card.default or len(known) == 1):
        return card.default or known[0]
    if wanted is None:
        raise DataError("data.subset-needed", where=where, known=listed(known))
    if wanted not in known:
        raise DataError("data.no-subset", where=where, subset=wanted, hint=hint(wanted, known), known=listed(known))
    return wanted


def _folder_as_subset(data: Sequence[str], subset: str, where: str) -> list[str]:
    if below := _below(data, subset):
        return below
    known = sorted({PurePosixPath(name).parts[0] for name in data if "/" in name})
    raise DataError("data.no-subset", where=where, subset=subset, hint=hint(subset, known), known=listed(known))


def _below(data: Sequence[str], folder: str) -> list[str]:
    start = "/".join(part for part in PurePosixPath(folder).parts if part not in (".", "/"))
    return [name for name in data if not start or name == start or name.startswith(start + "/")]


def _matching(data: Sequence[str], start: str, patterns: Sequence[str]) -> list[str]:
    """Files by the patterns of a card, in the order of the patterns, each once."""
    found: dict[str, None] = {}
    for pattern in patterns:
        whole = str(PurePosixPath(start, pattern.removeprefix("./")))
        regex = re.compile(_as_regex(whole))
        found.update(dict.fromkeys(name for name in data if regex.fullmatch(name)))
    return list(found)


def _as_regex(pattern: str) -> str:
    """`**` crosses folders, `*` and `?` do not, `[...]` is one character of a set, `{a,b}` one of some words."""
    pieces = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]|\{[^}]*\}|.", pattern, flags=re.DOTALL)
    simple = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    out = []
    for piece in pieces:
        if piece in simple:
            out.append(simple[piece])
        elif len(piece) > 2 and piece[0] == "[":
            inside = piece[1:-1].replace("\\", "\\\\")
            out.append("[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]")
        elif len(piece) > 1 and piece[0] == "{":
            out.append("(?:" + "|".join(re.escape(word) for word in piece[1:-1].split(",")) + ")")
        else:
            out.append(re.escape(piece))
    return "".join(out)


def _kind(name: str) -> kinds.Kind:
    found = kinds.named(name)
    return found.kind if found else "json"


def card_of(text: str, where: str) -> Card:
    """The `configs` of a README's head. One that is not YAML, or of another shape, is refused and not passed over."""
    import yaml

    found = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(?:\n|$)", text, flags=re.DOTALL)
    if not found:
        return Card()
    try:
        head = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise DataError("data.card-broken", where=where, reason=str(problem).splitlines()[0]) from problem
    configs = head.get("configs") if isinstance(head, dict) else None
    if configs is None:
        return Card()
    if not isinstance(configs, list) or not all(isinstance(one, dict) for one in configs):
        raise DataError("data.card-broken", where=where, reason="configs")
    return _card(configs, where)


def _card(configs: Sequence[Mapping[str, Any]], where: str) -> Card:
    patterns: dict[str, Mapping[str, tuple[str, ...]]] = {}
    folders: dict[str, str] = {}
    default = None
    for one in configs:
        name = str(one.get("config_name", "default"))
        if one.get("default") is True or (name == "default" and default is None):
            default = name
        if isinstance(one.get("data_dir"), str):
            folders[name] = one["data_dir"]
        if (files := one.get("data_files")) is not None:
            patterns[name] = _patterns(files, where)
    return Card(patterns, folders, default)


def _patterns(files: object, where: str) -> dict[str, tuple[str, ...]]:
    """`data_files`: a pattern, a list of patterns, or a list of `{split, path}`."""
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    given = files if isinstance(files, list) else [files]
    found: dict[str, tuple[str, ...]] = {}
    for one in given:
        split, path = (one.get("split", TRAIN), one.get("path")) if isinstance(one, dict) else (TRAIN, one)
        paths = path if isinstance(path, list) else [path]
        if not all(isinstance(text, str) for text in paths):
            raise DataError("data.card-broken", where=where, reason="data_files")
        found[str(split)] = (*found.get(str(split), ()), *paths)
    return found
