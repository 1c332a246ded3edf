"""The table that `env` prints and that a bug report needs; what of it is missing, and what the tutorials pin otherwise.

In: installed packages and the machine. Out: pairs of name and value, in reading order, and lines that also know the
releases that the tutorials name and what nothing can be trained without.
Deliberately loads none of the packages whose versions it tells, and shows no secret, no variable
of the environment and no path of the user.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llama_factory import __version__
from llama_factory.errors import MachineError
from llama_factory.machine.facts import describe

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "huggingface_hub",
    "numpy", "pydantic", "torchvision", "torchaudio", "datasets", "trl", "flash-attn", "bitsandbytes", "deepspeed",
    "vllm", "galore", "apollo-optimizer",
)  # fmt: skip

LEAST: Mapping[str, str] = {
    "torch": "2.10",
    "transformers": "5.3",
    "peft": "0.18",
    "accelerate": "1.10",
    "tokenizers": "0.22",
    "safetensors": "0.5",
    "huggingface_hub": "1.0",
    "numpy": "1.26",
    "pydantic": "2.8",
}
"""What nothing can be trained without, with the least releases that `pyproject.toml` asks for."""

PINS: Mapping[str, tuple[str, ...]] = {
    "python": ("3.10",),
    "torch": ("2.0.1", "2.2.1", "2.6.0"),
    "transformers": ("4.30.2", "4.38.1", "4970b23"),
    "peft": ("0.15.1",),
    "accelerate": ("0.20.3", "1.2.1"),
    "torchvision": ("0.21.0",),
    "torchaudio": ("2.6.0",),
    "datasets": ("3.2.0",),
    "trl": ("0.9.6",),
    "flash-attn": ("2.7.2",),
    "bitsandbytes": ("0.43.1",),
    "deepspeed": ("0.16.4",),
    "vllm": ("0.8.2",),
    "galore": ("0.1.0",),
    "apollo-optimizer": ("0.1.0",),
}
"""Releases that the tutorials tell their readers to install. Nothing here depends on them."""


@dataclass(frozen=True, slots=True)
class Line:
    """pins: the releases that the tutorials name, where this one is another; problem: missing, or too old."""

    name: str
    value: str
    pins: tuple[str, ...] = ()
    problem: MachineError | None = None


def table() -> list[Line]:
    """The table, and below it what is missing of `LEAST`."""
    wrong = problems()
    rows = dict(environment())
    rows |= {library: "-" for library in wrong if library not in rows}
    return [
        Line(name, value, () if name in wrong or _is_pinned(name, value) else PINS.get(name, ()), wrong.get(name))
        for name, value in rows.items()
    ]


def absent_pins() -> list[str]:
    """`trl 0.9.6`: what the tutorials install and what is not here, but for what `problems` names."""
    there = {name for name, _ in environment()}
    return [f"{name} {', '.join(pins)}" for name, pins in PINS.items() if name not in there and name not in LEAST]


def problems() -> dict[str, MachineError]:
    """By the name of the library: missing, or older than what is needed."""
    found: dict[str, MachineError] = {}
    for library, least in LEAST.items():
        have = installed(library)
        if have is None:
            found[library] = MachineError("machine.missing-library", library=library, least=least)
        elif _release(have) < _release(least):
            found[library] = MachineError("machine.old-library", library=library, least=least, found=have)
    return found


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


def _is_pinned(name: str, value: str) -> bool:
    """A pin of two numbers names all releases that begin so: Python 3.10 is 3.10.12 too."""
    value = value.partition("+")[0]
    return any(value == pin or value.startswith(f"{pin}.") for pin in PINS.get(name, ()))


def _release(version: str) -> tuple[int, ...]:
    """The first numbers of a version: `2.13.0+cpu` -> (2, 13)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
