"""Commands on data, called in this process: their exit code and what they said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llama_factory.apps.cli import main

Told = Callable[..., tuple[int, str, str]]


def in_process(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    """`told("rows.jsonl", "--flag")`: code, out, err. Nothing half-written is left in `folder`."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main([command, *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert not list(folder.glob(".writing-*"))
        return code, said.out, said.err

    return run


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
