"""The table that `env` prints and that a bug report needs.

In: installed packages and the machine. Out: pairs of name and value, in reading order.
Deliberately loads none of the packages whose versions it tells, and shows no secret, no variable
of the environment and no path of the user.
"""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llama_factory import __version__
from llama_factory.machine.facts import describe

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "huggingface_hub",
    "numpy", "pydantic", "datasets", "trl", "bitsandbytes", "deepspeed", "vllm",
)  # fmt: skip


def environment() -> list[tuple[str, str]]:
    """Packages that are not installed are left out, but for torch, without which nothing trains."""
    machine = describe()
    rows = [
        ("llamafactory", __version__),
        ("python", platform.python_version()),
        ("system", platform.platform()),
    ]
    for package in PACKAGES:
        found = installed(package)
        if found or package == "torch":
            rows.append((package, found or "-"))
    disk = shutil.disk_usage(Path.cwd())
    rows += [
        ("cpu", machine.cpu),
        ("cores", f"{machine.cores} ({machine.threads} threads)"),
        ("cpu bf16", "yes" if machine.computes_bf16 else "no"),
        ("gpu", ", ".join(machine.gpus) or "-"),
        ("memory", f"{machine.ram / 2**30:.1f} GiB"),
        ("disk free here", f"{disk.free / 2**30:.1f} GiB"),
    ]
    return rows


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
