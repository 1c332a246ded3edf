"""Fetches the quantisers that tests train with: bitsandbytes, and hqq with what it imports.

In: the pins of requirements/constraints.txt. Out: a folder in the cache, never in the checkout and never in the
environment, to be put on PYTHONPATH (`--where` prints it). Once one of the two can be imported, peft and
transformers import it at every start, which costs seconds: so only the tests that use them see them.

A user needs none of this: `pip install "llama-factory[quant]"`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fetching import FetchError, alone_in, ended, pip_install, whole

from llama_factory import storage
from llama_factory.errors import LlamaFactoryError

PINS = Path(__file__).resolve().parents[1] / "requirements" / "constraints.txt"
NAMES = ("bitsandbytes", "hqq", "einops", "termcolor")
"""Packages, installed without their own needs: torch and the rest are the environment's, and stay as they are."""


def main(words: Sequence[str] = ()) -> int:
    if words:
        if list(words) != ["--where"]:
            print(f"expected nothing or --where, found: {' '.join(words)}", file=sys.stderr)
            return 2
        return ended(lambda: print(folder()), LlamaFactoryError)
    return ended(fetch, LlamaFactoryError)


def requirements() -> list[str]:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", PINS.read_text(encoding="utf-8"), re.MULTILINE))
    missing = [name for name in NAMES if name not in pinned]
    if missing:
        raise FetchError(f"{PINS.name}: expected a pin for {', '.join(missing)}, found none.")
    return [f"{name}=={pinned[name]}" for name in NAMES]


def folder() -> Path:
    parts: dict[str, str | bytes | int | float | None] = {"python": sys.implementation.cache_tag}
    parts |= {str(number): one for number, one in enumerate(requirements())}
    return storage.cache_folder(os.environ) / "quantisers" / storage.digest(parts)[:12]


def fetch() -> None:
    """They are in the cache when this returns; at once if they already were."""
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(target.parent, "the quantisers"):
        if not whole(target):
            print(f"Installing {', '.join(requirements())} (126 MB) with pip into the cache", flush=True)
            storage.write_directory(target, lambda fresh: pip_install(requirements(), fresh))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
