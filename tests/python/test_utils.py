"""`check_env`: a mark on every line, and an error that says what to type where something is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llama_factory import machine, utils
from llama_factory.errors import LlamaFactoryError
from llama_factory.utils import LEAST, PINS, check_env

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def versions_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISABLE_VERSION_CHECK", raising=False)


def test_every_line_of_the_table_has_its_mark(capsys: pytest.CaptureFixture[str]) -> None:
    check_env()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [name.split()[0] for name, _ in machine.environment()]
    assert len(lines) > 10
    assert all(line.startswith("✓ ") for line in lines)


def test_a_release_that_the_tutorials_pin_otherwise_is_named_unless_that_is_silenced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    check_env(say=said.append)
    (torch,) = [line for line in said if line.split()[1] == "torch"]
    assert "the tutorials name 2.0.1, 2.2.1, 2.6.0" in torch
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    said.clear()
    check_env(say=said.append)
    assert said
    assert "tutorials" not in "".join(said)


def test_what_is_missing_or_too_old_is_marked_and_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "installed", lambda name: {"peft": None, "transformers": "4.30.2"}.get(name, "99.0"))
    said: list[str] = []
    with pytest.raises(LlamaFactoryError) as caught:
        check_env(say=said.append)
    assert caught.value.exit_code == 4
    assert [line.split()[1] for line in said if line.startswith("✗")] == ["transformers", "peft"]
    assert 'pip install "peft>=0.18"' in str(caught.value)
    assert 'pip install -U "transformers>=5.3"' in str(caught.value)


def test_the_least_releases_are_those_that_the_package_asks_for() -> None:
    wanted = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert {name: wanted[name] for name in LEAST} == dict(LEAST)


def test_env_names_every_release_that_a_tutorial_pins(capsys, monkeypatch) -> None:
    from llama_factory.apps.cli import main

    monkeypatch.delenv("DISABLE_VERSION_CHECK", raising=False)
    assert main(["env"]) == 0
    said = capsys.readouterr().out
    releases = [release for pinned in PINS.values() for release in pinned]
    assert len(releases) == 9
    assert [release for release in releases if release not in said] == []
