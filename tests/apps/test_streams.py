"""Output that is right for a terminal, a file, a pipe that closes, a full disk and another locale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llama_factory.apps.screen import cells, pick_language, wrap

PROGRAM = [sys.executable, "-m", "llama_factory"]


def shell(line: str, folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    import os

    environ = {**os.environ, "LC_ALL": "C.UTF-8", "LMF": " ".join(PROGRAM), **extra}
    return subprocess.run(
        ["bash", "-c", "set -o pipefail; " + line], capture_output=True, text=True, cwd=folder, env=environ, check=False
    )


def test_a_terminal_gets_bold_and_a_pipe_gets_none(terminal, lmf) -> None:
    shown = terminal("help")
    assert shown.end() == 0
    assert "\x1b[1mCommands\x1b[0m" in shown.shown
    assert "\x1b" not in lmf("help").stdout


@pytest.mark.parametrize("extra", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_is_honoured(terminal, extra: dict[str, str]) -> None:
    shown = terminal("help", **extra)
    assert shown.end() == 0
    assert "Commands" in shown.shown
    assert "\x1b" not in shown.shown


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("words", [("help",), ("help", "train"), ("explain", "on_too_long"), ("env",)])
def test_nothing_is_wider_than_the_terminal_but_what_cannot_be_broken(terminal, words, language) -> None:
    shown = terminal(*words, columns=72, LLAMA_FACTORY_LANG=language)
    assert shown.end() == 0
    lines = shown.shown.splitlines()
    assert len(lines) > 3
    commands = ("  llamafactory-cli", "system ", "cpu ")
    too_wide = [line for line in lines if cells(line) > 72 and not line.startswith(commands)]
    assert too_wide == []


def test_a_pipe_s_lines_do_not_depend_on_any_width(lmf) -> None:
    narrow, wide = (lmf("help", "train", COLUMNS=columns).stdout for columns in ("40", "200"))
    assert narrow == wide
    assert any(len(line) > 100 for line in narrow.splitlines())


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    done = shell("$LMF list | head -n 1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    at_once = shell("$LMF help | true", tmp_path)
    assert (at_once.returncode, at_once.stderr) == (0, "")


def test_closed_streams_are_no_crash(tmp_path: Path) -> None:
    for closed in (">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        done = shell(f"$LMF version {closed}", tmp_path)
        assert done.returncode == 0, closed
        assert done.stderr == ""
    refused = shell("$LMF nonsense >&-", tmp_path)
    assert refused.returncode == 2
    assert "nonsense" in refused.stderr
    assert shell("$LMF nonsense 2>&-", tmp_path).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_said(tmp_path: Path) -> None:
    done = shell("$LMF help > /dev/full", tmp_path)
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_without_chinese_signs_gets_english(lmf, encoding: str) -> None:
    done = lmf("help", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LLAMA_FACTORY_LANG="zh")
    assert done.returncode == 0
    assert "Commands" in done.stdout
    data = lmf("explain", "没有这个", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert data.returncode == 2


def test_a_chinese_encoding_carries_chinese(tmp_path: Path) -> None:
    import os

    environ = {**os.environ, "PYTHONIOENCODING": "gb18030", "PYTHONUTF8": "0", "LLAMA_FACTORY_LANG": "zh"}
    done = subprocess.run([*PROGRAM, "help"], capture_output=True, cwd=tmp_path, env=environ, check=False)
    assert "训练模型" in done.stdout.decode("gb18030")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LLAMA_FACTORY_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "LLAMA_FACTORY_LANG": "ZH"}, "zh"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_language_is_what_the_environment_says_first(environ: dict[str, str], language: str) -> None:
    assert pick_language(environ) == language


def test_a_chinese_sign_takes_two_columns_and_an_escape_code_none() -> None:
    assert cells("训练 ok") == 7
    assert cells("\x1b[1mok\x1b[0m") == 2
    assert cells("e\u0301") == 1


@pytest.mark.parametrize(
    "text",
    [
        "Trains as the file says, step by step, and stops when it is told to.",
        "按配置训练。第一步之前会检查全部内容；按 Ctrl-C 会先保存再停止，同一命令即可继续。",
        "mixed 中文 and English，在同一行里 wrapped（括号）。",
    ],
)
@pytest.mark.parametrize("width", [20, 33, 80, 200])
def test_wrapping_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    pieces = wrap(text, width, 0)
    assert all(cells(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert not any(piece[0] in "，。；）" for piece in pieces)
    assert wrap(text, None, 0) == [text]
