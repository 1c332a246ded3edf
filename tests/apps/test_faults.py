"""What is shown, written and returned when a command ends in a way that nobody wanted."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llama_factory.apps.faults import foreseen, report_text
from llama_factory.errors import EXIT_CODES, DataError, SeveralErrors

FAULT = """
import sys
from llama_factory.apps import cli

def broken(words, screen, environ):
    {body}

cli.COMMANDS = {{**cli.COMMANDS, "broken": broken}}
sys.exit(cli.main(["broken", *sys.argv[1:]]))
"""


def run(body: str, folder: Path, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The program with one more command, whose body this is, in a process of its own."""
    import os

    environ = {**os.environ, "LC_ALL": "C.UTF-8", **extra}
    script = folder / "program.py"
    script.write_text(FAULT.format(body=body))
    return subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, cwd=folder, env=environ, check=False
    )


def test_a_fault_of_ours_is_two_lines_a_report_and_exit_seventy(tmp_path: Path) -> None:
    done = run("raise ZeroDivisionError('at the heart of it')", tmp_path)
    assert done.returncode == 70
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2
    assert "ZeroDivisionError: at the heart of it" in lines[0]
    (report,) = tmp_path.glob("llama_factory-fault-*.txt")
    assert str(report) in lines[1]
    text = report.read_text()
    assert "Traceback (most recent call last)" in text
    assert "program.py" in text
    assert "torch: " in text
    assert "python: " in text
    assert "[command]\nllamafactory-cli broken" in text


def test_the_report_goes_elsewhere_where_nothing_can_be_written(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir(os.getcwd()); raise ValueError('lost')"
    done = run(gone, tmp_path, TMPDIR=str(elsewhere))
    assert done.returncode == 70
    (report,) = elsewhere.glob("llama_factory-fault-*.txt")
    assert str(report) in done.stderr


def test_a_report_holds_no_secret(tmp_path: Path) -> None:
    body = "raise ValueError('https://me:passw0rd@hub/x hf_abcdefghijkl and ' + environ['MY_API_KEY'])"
    done = run(
        body, tmp_path, "hf_hub_token=tok-one-tok", "--hf_hub_token", "tok-two-tok", MY_API_KEY="key-three-key"
    )  # fmt: skip
    (report,) = tmp_path.glob("llama_factory-fault-*.txt")
    for text in (report.read_text(), done.stderr):
        for secret in ("tok-one-tok", "tok-two-tok", "key-three-key", "passw0rd", "hf_abcdefghijkl"):
            assert secret not in text
        assert "***" in text


def test_the_report_holds_the_configuration(tmp_path: Path) -> None:
    text = report_text(
        ValueError("x"), ["train", "model_name_or_path=somewhere", "dataset=identity", "output_dir=o"], {}
    )
    assert "model_name_or_path: 'somewhere'" in text
    assert "learning_rate: " in text
    assert "hf_hub_token: " not in text


def test_a_report_about_words_that_make_no_configuration_is_still_a_report() -> None:
    text = report_text(ValueError("x"), ["train", "nowhere.yaml"], {})
    assert "[traceback]" in text
    assert "[configuration]\n(not available: InputError" in text


def test_every_exit_code_of_the_table_is_returned_as_it_is(tmp_path: Path) -> None:
    kinds = {
        2: "InputError", 3: "DataError", 4: "MachineError", 5: "DivergedError", 6: "ProofError", 75: "Interrupted",
    }  # fmt: skip
    assert {0, 70, *kinds} == set(EXIT_CODES)
    for code, kind in kinds.items():
        body = f"from llama_factory import errors; raise errors.{kind}('apps.stopped', where='here')"
        done = run(body, tmp_path)
        assert done.returncode == code
        assert done.stderr.startswith("here: stopped.\n")
    assert not list(tmp_path.glob("*fault*"))


def test_ctrl_c_is_one_letter_and_exit_seventy_five(tmp_path: Path) -> None:
    done = run("raise KeyboardInterrupt", tmp_path)
    assert done.returncode == 75
    assert done.stderr.splitlines()[0] == "stopped."
    chinese = run("raise KeyboardInterrupt", tmp_path, LLAMA_FACTORY_LANG="zh")
    assert chinese.stderr.splitlines()[0] == "已停止。"


@pytest.mark.parametrize(
    ("error", "id"),
    [
        (MemoryError(), "apps.out-of-memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to"),
         "apps.out-of-memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "apps.out-of-memory"),
        (OSError(errno.ENOSPC, "No space left on device", "somewhere"), "apps.system-refused"),
        (PermissionError(errno.EACCES, "Permission denied", "somewhere"), "apps.system-refused"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "apps.output-lost"),
        (ModuleNotFoundError("No module named 'peft'", name="peft"), "apps.missing-library"),
        (ModuleNotFoundError("No module named 'torch'", name="torch.nn"), "apps.missing-library"),
    ],
)  # fmt: skip
def test_what_a_machine_can_do_to_us_is_exit_four(error: BaseException, id: str) -> None:
    told = foreseen(error)
    assert told is not None
    assert not isinstance(told, SeveralErrors)
    assert (told.id, told.exit_code) == (id, 4)
    assert told.letter("zh") != told.letter("en")


def test_a_missing_torch_names_the_line_that_installs_it() -> None:
    told = foreseen(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert told is not None
    assert 'pip install -e ".[torch]"' in told.letter()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ModuleNotFoundError("x", name="llama_factory.nothing"),
        OSError(errno.EBADF, "bad"),
        KeyError("k"),
    ],
)
def test_what_nobody_foresaw_is_ours(error: BaseException) -> None:
    assert foreseen(error) is None


def test_several_errors_keep_all_their_letters(tmp_path: Path) -> None:
    errors = [DataError("apps.stopped", where=f"row {number}") for number in range(3)]
    several = foreseen(SeveralErrors(errors))
    assert several is not None
    assert len(re.findall(r"row \d: stopped", several.letter())) == 3
    assert several.exit_code == 3


def test_a_command_whose_reader_left_does_its_work_to_the_end(tmp_path: Path) -> None:
    body = """from llama_factory.apps.work import steadfast
    say = steadfast(screen)
    for number in range(2000):
        say(f"step {number}" + " " * 100)
    open("done", "w").close()
    return 0"""
    script = tmp_path / "program.py"
    script.write_text(FAULT.format(body=body))
    line = f"set -o pipefail; {sys.executable} program.py | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done").exists()
