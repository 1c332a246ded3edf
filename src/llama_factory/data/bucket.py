"""`s3://...`, `gs://...` -> the same file or folder on this disk, fetched once.

In: an address of a file or of a folder. Out: a path. Through fsspec and its client for the kind of bucket, each an
extra. A copy is kept for as long as the bucket says the same about the file: size, tag, time. It deliberately
reads nothing in place: rows are read several times, and a bucket is far.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from llama_factory import storage
from llama_factory.data import kinds
from llama_factory.data.words import short
from llama_factory.errors import InputError, LlamaFactoryError

CLIENTS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
FILES = "files"
"""Below the folder's manifest, which is no data."""

FACTS = ("size", "ETag", "etag", "md5Hash", "generation", "LastModified", "updated", "created", "mtime")


def fetch(address: str, cache: Path) -> Path:
    """The local copy of all that stands at the address."""
    scheme = address.split("://", 1)[0]
    if scheme not in CLIENTS:
        raise InputError(
            "data.cloud-scheme", where=address, found=scheme, known=", ".join(f"{one}://" for one in CLIENTS)
        )
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise kinds.need(CLIENTS[scheme], CLIENTS[scheme]) from error
    try:
        return _fetch(system, path, cache / "cloud")
    except LlamaFactoryError:
        raise
    except FileNotFoundError as error:
        raise InputError("data.cloud-nothing", where=address) from error
    except Exception as error:  # each client has its own tree of errors, and all mean this
        raise InputError(
            "data.cloud-failed", where=address, reason=short(str(error) or type(error).__name__)
        ) from error


def _fetch(system: Any, path: str, cache: Path) -> Path:
    is_file = system.isfile(path)
    found: dict[str, Any] = {path: system.info(path)} if is_file else system.find(path, detail=True)
    if not found:
        raise FileNotFoundError(path)
    facts = {name: [str(info.get(fact)) for fact in FACTS] for name, info in sorted(found.items())}
    root = cache / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    if not root.is_dir():
        start = path.rsplit("/", 1)[0] if is_file else path.rstrip("/")

        def write(aside: Path) -> None:
            for name in found:
                target = aside / FILES / name.removeprefix(start).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(name, str(target))

        storage.write_directory(root, write, replace=False)
    return root / FILES / path.rsplit("/", 1)[-1] if is_file else root / FILES
