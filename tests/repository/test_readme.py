"""The README and its Chinese twin say the same, and what they say is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from llama_factory import config
from llama_factory.errors import EXIT_CODES

ROOT = Path(__file__).parents[2]
TWINS = ("README.md", "README_zh.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text_of(name)) if kind == language]


def commands(name: str) -> list[str]:
    """Indented lines: what a person is told to type."""
    outside = BLOCK.sub("", text_of(name))
    return [line.strip() for line in outside.splitlines() if line.startswith("    ")]


def test_the_twins_show_the_same_commands_and_blocks() -> None:
    english, chinese = TWINS
    assert len(commands(english)) == 14
    assert commands(english) == commands(chinese)
    assert [kind for kind, _ in BLOCK.findall(text_of(english))] == ["", "yaml", "", "json", "json", "python"]
    for language in ("yaml", "json", "python"):
        assert blocks(english, language) == blocks(chinese, language)
    assert text_of(english).count("\n## ") == text_of(chinese).count("\n## ")


@pytest.mark.parametrize(
    "name", [*TWINS, "CONTRIBUTING.md", "SECURITY.md", "data/README.md", "docs/decisions/README.md"]
)
def test_every_file_that_a_page_points_to_is_there(name: str) -> None:
    folder = (ROOT / name).parent
    missing = [link for link in LINK.findall(text_of(name)) if not (folder / link).exists()]
    assert not missing


@pytest.mark.parametrize("name", TWINS)
def test_the_yaml_is_the_quickstart(name: str) -> None:
    (block,) = blocks(name, "yaml")
    assert yaml.safe_load(block) == yaml.safe_load(text_of("examples/quickstart.yaml"))
    assert config.load(ROOT / "examples" / "quickstart.yaml").training.output_dir == "saves/quickstart"


@pytest.mark.parametrize("name", TWINS)
def test_the_table_of_exit_codes_is_the_program_s(name: str) -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text_of(name), re.MULTILINE)]
    assert codes == list(EXIT_CODES)


@pytest.mark.parametrize("name", TWINS)
def test_what_the_commands_print_is_shown(name: str) -> None:
    demo, export = blocks(name, "")
    assert "Lumo" in demo
    assert "LLaMA Factory" in demo
    assert "models/lumo" in export


@pytest.mark.slow
def test_the_python_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    (code,) = blocks("README.md", "python")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "SmolLM2-135M-Instruct").symlink_to(tiny_model)
    (tmp_path / "rows.jsonl").write_text(blocks("README.md", "json")[0].splitlines()[2] + "\n", encoding="utf-8")
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "saves" / "rows" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_the_rows_and_the_registry_entry_are_trained_on(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    from llama_factory.apps.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    train: Callable[[str, str], int] = lambda data, output: main(  # noqa: E731
        [
            "train",
            f"model_name_or_path={tiny_model}",
            "stage=sft",
            f"dataset={data}",
            f"output_dir={output}",
            "max_steps=1",
        ]
    )
    rows, entry = blocks("README.md", "json")
    assert len(rows.splitlines()) == 3
    for number, row in enumerate(rows.splitlines()):
        (tmp_path / f"rows-{number}.jsonl").write_text(row + "\n", encoding="utf-8")
        assert train(f"rows-{number}.jsonl", f"out-{number}") == 0
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text("{" + entry + "}", encoding="utf-8")
    turns = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]
    (tmp_path / "data" / "rows.json").write_text(json.dumps([{"conversations": turns}]), encoding="utf-8")
    assert train("my_rows", "out-registered") == 0
