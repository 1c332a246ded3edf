"""The inventory of the tutorials, and a shell's worth of means to do what they print.

A test that takes `entry` is run once for each entry of `inventory.yaml` that names it as its witness.
Commands are run as they are printed, word by word, without a shell.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Entry:
    """text: as printed. meant: the same with the indentation that the page lost. refused: the key that a letter names.

    imports: the name that the snippet needs and that is not there yet, with its module.
    """

    source: str
    id: str
    kind: str
    status: str
    text: str
    reason: str = ""
    witness: str = ""
    meant: str = ""
    refused: str = ""
    imports: str = ""

    @property
    def name(self) -> str:
        return f"{self.source.split('_')[0]}/{self.id}"

    @property
    def yaml(self) -> str:
        return self.meant or self.text


def read_inventory() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for source, items in yaml.safe_load((HERE / "inventory.yaml").read_text(encoding="utf-8")).items():
        for item in items:
            entry = Entry(source=source, **item)
            assert entry.name not in found, entry.name
            found[entry.name] = entry
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "entry" in metafunc.fixturenames:
        mine = [entry for entry in read_inventory().values() if entry.witness == metafunc.function.__name__]
        metafunc.parametrize("entry", mine, ids=[entry.name for entry in mine])


@pytest.fixture(scope="session")
def inventory() -> Mapping[str, Entry]:
    return read_inventory()


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one printed command in a folder; `more` is what a person adds to it, `stdin` what they then type."""

    def run(
        text: str, cwd: Path, *, more: str = "", stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = shlex.split(re.sub(r"\\\s", " ", text) + " " + more)
        given = {}
        while "=" in words[0] and words[0].split("=")[0].isidentifier():
            key, value = words.pop(0).split("=", 1)
            given[key] = os.path.expandvars(value)
        program = {"python": [sys.executable], "pip": [sys.executable, "-m", "pip"]}
        beside = str(Path(sys.executable).parent / words[0])
        command = [*program.get(words[0], [beside]), *words[1:]]
        environment = {
            **os.environ,
            "LLAMA_FACTORY_LANG": "en",
            "LLAMA_FACTORY_CACHE": str(tmp_path / "cache"),
            **given,
        }
        return subprocess.run(
            command, cwd=cwd, input=stdin, capture_output=True, text=True, env={**environment, **(environ or {})}
        )

    return run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """`llamafactory-cli` in this process, in an empty folder and with a cache of its own: its exit code."""
    from llama_factory.apps.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    return lambda *words: main([str(word) for word in words])
