"""From the name that the user wrote to a folder on this disk.

In: `model_name_or_path` or one of `adapter_name_or_path`: a folder, or the name of a hub repository. Out: a
folder that exists. Only the files that are used are fetched: safetensors and text, never pickles.

Deliberately not here: whether the folder holds a usable model. That is `load.check_folder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.errors import InputError, MachineError, nearest

if TYPE_CHECKING:
    from llama_factory.config import Run

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.jsonl", "*.tiktoken", "LICENSE*", "NOTICE*")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def locate(
    name: str,
    *,
    revision: str = "main",
    cache_dir: str | None = None,
    token: str | None = None,
    trust_remote_code: bool = False,
) -> Path:
    """The folder of that name, or the hub's snapshot of it."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix == ".gguf":
            raise InputError("model.gguf-file", where=name, file=name)
        raise InputError("model.file-not-folder", where=name, folder=str(path.parent))
    if _looks_like_a_path(name):
        raise InputError("model.no-such-folder", where=name, nearest=_nearest_folder(path))
    return _from_hub(name, revision, cache_dir, token, trust_remote_code)


def _looks_like_a_path(name: str) -> bool:
    parent = Path(name).parent
    return (
        name.startswith((".", "/", "~"))
        or not _HUB_NAME.fullmatch(name)  # a backslash, a colon, more than one slash
        or (parent != Path() and parent.is_dir())
    )


def _nearest_folder(path: Path) -> str:
    """The deepest part of the path that exists, and the name in it that is closest to what was asked for."""
    there = path
    wanted = path.name
    while not there.is_dir() and there != there.parent:
        there, wanted = there.parent, there.name
    if not there.is_dir():
        return ""
    try:
        names = [child.name for child in there.iterdir() if child.is_dir()]
    except OSError:
        return ""
    return nearest(wanted, names)


def _from_hub(name: str, revision: str, cache_dir: str | None, token: str | None, code: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [*WANTED, "*.py"] if code else list(WANTED)
    with hub_letters(name, revision):
        return Path(
            snapshot_download(name, revision=revision, cache_dir=cache_dir, token=token, allow_patterns=patterns)
        )


@contextmanager
def hub_letters(name: str, revision: str = "main") -> Iterator[None]:
    """What the hub's client may raise, each in its own letter: an InputError, or a MachineError about this disk."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError("model.gated", where=name) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError("model.not-on-hub", where=name) from error
    except errors.RevisionNotFoundError as error:
        raise InputError("model.no-such-revision", where=name, revision=revision) from error
    except errors.HFValidationError as error:
        raise InputError("model.no-such-folder", where=name, nearest=_nearest_folder(Path(name))) from error
    except (errors.EntryNotFoundError, errors.HTTPError, ConnectionError) as error:  # a proxy's error is an HTTPError
        raise InputError("model.unreachable", where=name) from error
    except OSError as error:
        raise MachineError("model.hub-failed", where=name, found=str(error)) from error


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the parts of a run's model lie. tokenizer: None when neither base nor adapters brought one."""

    base: Path
    adapters: tuple[Path, ...]
    tokenizer: Path | None


def locate_for(run: Run) -> Folders:
    """Base, adapters and tokenizer of a run. The tokenizer is the one asked for, else the one trained with."""

    def find(name: str) -> Path:
        return locate(
            name,
            revision=run.model.model_revision,
            cache_dir=run.model.cache_dir,
            token=run.model.hf_hub_token,
            trust_remote_code=run.model.trust_remote_code,
        )

    base = find(str(run.model.model_name_or_path))
    adapters = tuple(find(name) for name in run.model.adapter_name_or_path)
    if run.model.tokenizer_name is not None:
        return Folders(base, adapters, find(run.model.tokenizer_name))
    has_one = (folder for folder in (*adapters, base) if any((folder / name).is_file() for name in TOKENIZER))
    return Folders(base, adapters, next(has_one, None))
