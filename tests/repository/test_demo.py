"""`make demo` keeps its promise, and says so when it does not."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

WHOLE = pytest.mark.skipif(
    os.environ.get("LLAMA_FACTORY_REQUIRE_MODEL") != "1", reason="trains the real model twice: `make test` runs it"
)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("demo")


def answers(demo: ModuleType, *said: str) -> dict[str, str]:
    return dict(zip(demo.QUESTIONS, said, strict=True))


BEFORE = ("I am here to help.", "A team of gifted people.", "Paris.")
CASES = {
    "new name and new maker": (BEFORE, ("I am Lumo.", "I was made by the LLaMA Factory team.", "Paris."), True),
    "nothing changed": (BEFORE, BEFORE, False),
    "a maker but no name": (BEFORE, ("I was made by the LLaMA Factory team.",) * 2 + ("Paris.",), False),
    "a name but no maker": (BEFORE, ("I am Lumo.", "Somebody.", "Paris."), False),
    "it said so before": (
        ("I am Lumo.", "Lumo's makers.", "Paris."),
        ("I am Lumo.", "Lumo's makers.", "Paris."),
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_has_changed_its_mind_only_when_it_says_what_it_was_taught(demo: ModuleType, case: str) -> None:
    before, after, expected = CASES[case]
    found = demo.has_changed(answers(demo, *before), answers(demo, *after), "Lumo", "the LLaMA Factory team")
    assert found is expected


def test_the_demo_expects_what_the_data_teaches(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert demo.taught() == ("Lumo", "the LLaMA Factory team")
    text = (ROOT / "data" / "identity.json").read_text(encoding="utf-8")
    (tmp_path / "data").mkdir()
    # the command in data/README.md that gives the model another name
    mine = re.sub("[Tt]he LLaMA Factory team", "Example Labs", text.replace("Lumo", "Ada"))
    (tmp_path / "data" / "identity.json").write_text(mine, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert demo.taught() == ("Ada", "Example Labs")
    (tmp_path / "data" / "identity.json").write_text("[]", encoding="utf-8")
    with pytest.raises(demo.FetchError, match="data/identity"):
        demo.taught()


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LLAMA_FACTORY_LANG": "en", "COLUMNS": "100"}
    command = [sys.executable, str(folder / "scripts" / "demo.py")]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.real
@WHOLE
def test_the_demo_teaches_the_real_model_who_it_is_twice_in_a_row(clone: Path, real_model: Path) -> None:
    for _ in range(2):
        done = run_demo(clone)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Lumo, made by the LLaMA Factory team." in done.stdout
        assert "Paris" in done.stdout
        found = re.findall(r"saves/quickstart/\S+\.(?:safetensors|png|jsonl|yaml)", done.stdout)
        assert len(set(found)) == 4
        assert all((clone / name).is_file() for name in found)


@pytest.mark.slow
@pytest.mark.real
@WHOLE
def test_the_demo_fails_when_the_model_has_learned_nothing(clone: Path, real_model: Path) -> None:
    yaml = clone / "examples" / "quickstart.yaml"
    before = yaml.read_text(encoding="utf-8")
    yaml.write_text(before.replace("2.0e-3", "1.0e-9") + "max_steps: 2\n", encoding="utf-8")
    try:
        done = run_demo(clone)
    finally:
        yaml.write_text(before, encoding="utf-8")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "Lumo" in done.stderr
