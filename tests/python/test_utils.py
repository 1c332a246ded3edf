"""`check_env`: a mark on every line, and an error that says what to type where something is missing."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_factory import machine
from llama_factory.errors import LlamaFactoryError
from llama_factory.machine.environment import LEAST, PINS
from llama_factory.utils import check_env

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
    have = {"peft": None, "transformers": "4.30.2"}
    environment = importlib.import_module("llama_factory.machine.environment")
    monkeypatch.setattr(environment, "installed", lambda name: have.get(name, "99.0"))
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


@pytest.fixture
def env(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What `llamafactory-cli env` prints."""
    from llama_factory.apps.cli import main

    def run() -> str:
        assert main(["env"]) == 0
        return capsys.readouterr().out

    return run


def test_env_and_check_env_say_the_same_of_every_line(env: Callable[[], str]) -> None:
    said: list[str] = []
    check_env(say=said.append)
    printed = env().splitlines()
    assert [line.rstrip() for line in printed[: len(said)]] == [line[2:].rstrip() for line in said]
    assert printed[len(said)] == ""
    assert len(printed) == len(said) + 2


def test_env_names_every_release_that_a_tutorial_pins(env: Callable[[], str]) -> None:
    said = env()
    releases = [release for pinned in PINS.values() for release in pinned]
    assert len(releases) == 20
    assert [release for release in releases if release not in said] == []
    (torch,) = [line for line in said.splitlines() if line.startswith("torch ")]
    assert "the tutorials name 2.0.1, 2.2.1, 2.6.0" in torch


def test_env_says_nothing_of_the_tutorials_when_that_is_silenced(
    env: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "tutorials" in env()
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    said = env()
    assert "torch" in said
    assert "tutorials" not in said


def test_a_release_that_is_the_pinned_one_is_not_remarked_on(
    env: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = importlib.import_module("llama_factory.machine.environment")
    have = {"trl": "0.9.6", "deepspeed": "0.17.0", "torch": "2.6.0+cu118"}
    monkeypatch.setattr(environment, "installed", lambda name: have.get(name, "99.0"))
    lines = {line.split()[0]: line for line in env().splitlines() if line.strip()}
    assert "tutorials" not in lines["trl"]
    assert "the tutorials name 0.16.4" in lines["deepspeed"]
    table = {line.name: line for line in environment.table()}
    assert table["torch"].problem is not None  # too old for us, as pinned as it may be
    assert table["torch"].pins == ()


@pytest.mark.parametrize("version", ["3.10.12", "3.10"])
def test_a_pin_of_two_numbers_names_every_release_that_begins_so(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = importlib.import_module("llama_factory.machine.environment")
    for found, pinned in ((version, ()), ("3.1", PINS["python"]), ("3.100.1", PINS["python"])):
        monkeypatch.setattr(environment.platform, "python_version", lambda found=found: found)
        (line,) = [line for line in environment.table() if line.name == "python"]
        assert line.pins == pinned


def test_the_pins_are_those_that_the_tutorials_print() -> None:
    seeds = ROOT.parent / "shared" / "seeds"
    if not seeds.is_dir():
        pytest.skip("no ../shared/seeds beside this checkout")
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted(seeds.glob("*.txt")))
    printed = re.findall(r"([a-z][\w-]*)==(\d[\d.]*\d)", pages)
    printed += [("python", found) for found in re.findall(r"python=(\d[\d.]*)", pages)]
    assert len(printed) > 15
    assert {(name, release) for name, release in printed if name != "pytorch"} <= {
        (name, release) for name, releases in PINS.items() for release in releases
    }
    assert [one for releases in PINS.values() for one in releases if one not in pages] == []
