"""Two hubs behind one face: which files a data set's repository has, and some of them on this disk.

In: `owner/name`. Out: a `Listing` at the commit that the name led to, and the folder in which the wanted files lie.
Hugging Face is asked through `huggingface_hub`, which honours HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE;
ModelScope through `modelscope_hub`, which comes with `modelscope`. Both are imported when they are asked. Only
files that were named are fetched; code from data is never run. It deliberately knows no splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from llama_factory.data import kinds
from llama_factory.errors import InputError, LlamaFactoryError

CARD = "README.md"
TIMEOUT_S = 20
Word = Literal["hf", "ms"]


@dataclass(frozen=True, slots=True)
class Listing:
    """revision: the commit, or where a hub names none a digest of what all its files hold."""

    revision: str
    files: tuple[str, ...]


class UnreachableError(Exception):
    """The hub did not answer, or the run is offline."""


class Client(Protocol):
    word: Word

    def listing(self, name: str) -> Listing: ...

    def cached(self, name: str) -> Listing | None:
        """What an earlier download of any program left on this disk."""

    def fetch(self, name: str, revision: str, files: Sequence[str]) -> Path:
        """The folder below which these files lie now."""

    def letter(self, name: str, reason: str) -> LlamaFactoryError:
        """What to say when the hub cannot be reached and nothing is here."""


class HuggingFace:
    word: Word = "hf"

    def __init__(self, token: str | None) -> None:
        self._token = token

    def listing(self, name: str) -> Listing:
        from huggingface_hub import HfApi

        with self._letters(name):
            found = HfApi(token=self._token).dataset_info(name, timeout=TIMEOUT_S)
        return Listing(str(found.sha), tuple(file.rfilename for file in found.siblings or ()))

    def cached(self, name: str) -> Listing | None:
        from huggingface_hub import snapshot_download

        try:
            root = Path(snapshot_download(name, repo_type="dataset", local_files_only=True, allow_patterns=[CARD]))
        except OSError:
            return None
        files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return Listing(root.name, tuple(files)) if files else None

    def fetch(self, name: str, revision: str, files: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        try:
            with self._letters(name):
                return Path(
                    snapshot_download(
                        name,
                        repo_type="dataset",
                        revision=revision,
                        token=self._token,
                        allow_patterns=[literally(file) for file in files],
                    )
                )
        except UnreachableError as problem:
            raise self.letter(name, str(problem)) from problem

    def letter(self, name: str, reason: str) -> LlamaFactoryError:
        return InputError("data.hub-unreachable", where=name, hub="Hugging Face", reason=reason)

    @contextmanager
    def _letters(self, name: str) -> Iterator[None]:
        from huggingface_hub import errors

        try:
            yield
        except errors.GatedRepoError as error:
            raise InputError("data.hub-gated", where=name) from error
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise InputError("data.hub-no-such", where=name, hub="Hugging Face") from error
        except (errors.LocalEntryNotFoundError, errors.HTTPError, OSError) as error:
            raise UnreachableError(_first_line(error)) from error


class ModelScope:
    word: Word = "ms"

    def __init__(self, token: str | None) -> None:
        """token: Hugging Face's, which is none here; this client reads its own from MODELSCOPE_API_TOKEN."""

    def listing(self, name: str) -> Listing:
        with self._letters(name) as hub:
            found = hub.HubApi().list_repo_files(name, "dataset")
        files = sorted(
            (file.path, str(file.sha256 or file.blob_id or file.size)) for file in found if file.type != "tree"
        )
        seal = hashlib.sha256(repr(files).encode()).hexdigest()
        return Listing(seal, tuple(path for path, _ in files))

    def cached(self, name: str) -> Listing | None:
        return None

    def fetch(self, name: str, revision: str, files: Sequence[str]) -> Path:
        patterns = [literally(file) for file in files]
        try:
            with self._letters(name) as hub:
                return Path(hub.HubApi().download_repo(name, repo_type="dataset", allow_patterns=patterns))
        except UnreachableError as problem:
            raise self.letter(name, str(problem)) from problem

    def letter(self, name: str, reason: str) -> LlamaFactoryError:
        return InputError("data.hub-unreachable", where=name, hub="ModelScope", reason=reason)

    @contextmanager
    def _letters(self, name: str) -> Iterator[Any]:
        try:
            import modelscope_hub
            from modelscope_hub import errors
        except ImportError as error:
            raise kinds.need("modelscope", "llama-factory[modelscope]") from error
        try:
            yield modelscope_hub
        except (errors.NotExistError, errors.InvalidParameter) as error:
            raise InputError("data.hub-no-such", where=name, hub="ModelScope") from error
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            raise InputError("data.hub-gated", where=name) from error
        except (errors.HubError, OSError) as error:
            raise UnreachableError(_first_line(error)) from error


CLIENTS: Mapping[str, Callable[[str | None], Client]] = {"hf": HuggingFace, "ms": ModelScope}


def literally(name: str) -> str:
    """A pattern that only this name meets."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
