"""train, chat and export from the outside: the real commands, a tiny real model, real signals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CTRL_C = "\x03"


@pytest.fixture
def words(tiny_model: Path, tmp_path: Path) -> tuple[str, ...]:
    """A configuration file of a few seconds, in the folder where the commands run."""
    (tmp_path / "run.yaml").write_text(
        f"model_name_or_path: {tiny_model}\nstage: sft\nfinetuning_type: lora\ndataset: history_en\n"
        "cutoff_len: 256\noutput_dir: out\nlearning_rate: 1.0e-3\nlogging_steps: 1\nsave_steps: 500\n"
        "report_to: none\npreprocessing_num_workers: 4\n"
    )
    return ("run.yaml", "max_steps=3")


def test_train_chat_and_export_follow_each_other(lmf, words: tuple[str, ...], tmp_path: Path) -> None:
    trained = lmf("train", *words)
    assert (trained.returncode, trained.stderr) == (0, "")
    assert trained.stdout.count("preprocessing_num_workers") == 1
    assert trained.stdout.count("step 3/3") == 1
    assert "llamafactory-cli chat" in trained.stdout
    assert "\x1b" not in trained.stdout
    assert "\r" not in trained.stdout
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()

    asked = lmf("chat", "run.yaml", "adapter_name_or_path=out", "--max_new_tokens", "4", stdin="hi\nclear\nhi\n")
    assert asked.returncode == 0
    assert asked.stdout
    assert "Adapter   out" in asked.stderr
    forgotten = lmf("chat", "run.yaml", "--max_new_tokens", "1", stdin="")
    assert "adapter_name_or_path=out" in forgotten.stderr
    assert forgotten.stdout == ""

    merged = lmf("export", "run.yaml", "adapter_name_or_path=out", "export_dir=merged")
    assert (merged.returncode, merged.stderr) == (0, "")
    assert (tmp_path / "merged" / "config.json").is_file()
    again = lmf("chat", "model_name_or_path=merged", "--max_new_tokens", "4", stdin="hi\n")
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == asked.stdout.splitlines()[0]


def test_a_second_training_in_the_same_folder_is_refused_and_nothing_is_lost(lmf, words, tmp_path: Path) -> None:
    assert lmf("train", *words).returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.safetensors")}
    other = lmf("train", *words, "learning_rate=1e-2", "seed=7")
    assert other.returncode in (2, 4)
    assert "out" in other.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.safetensors")} == before


def test_ctrl_c_in_a_terminal_saves_and_the_same_command_goes_on(terminal, words) -> None:
    command = ("train", words[0], "max_steps=100000", "logging_steps=10")
    run = terminal(*command, columns=120)
    at = run.wait_for("100000 steps", timeout_s=120)
    run.wait_for("/100", after=at, timeout_s=120)
    run.press(CTRL_C)
    assert run.end(120) == 75
    assert "Traceback" not in run.shown
    assert "the same command" in run.shown
    again = terminal(*command, columns=120)
    at = again.wait_for("resumed at step", timeout_s=120)
    again.wait_for("/100", after=at, timeout_s=120)
    again.press(CTRL_C)
    assert again.end(120) == 75


def test_ctrl_c_before_the_model_is_loaded_is_one_letter(terminal, tiny_model: Path) -> None:
    run = terminal("chat", f"model_name_or_path={tiny_model}")
    run.wait_for("Loading", timeout_s=120)
    run.press(CTRL_C)
    assert run.end(120) in (75, 0)  # 0: it was loaded already, and the prompt took it
    assert "Traceback" not in run.shown


def test_a_reader_that_leaves_does_not_end_the_training(words, tmp_path: Path) -> None:
    command = " ".join([sys.executable, "-m", "llama_factory", "train", *words])
    line = f"set -o pipefail; {command} | head -n 1"
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_the_chat_of_the_real_engine_stops_at_ctrl_c(terminal, tiny_model: Path) -> None:
    chat = terminal("chat", f"model_name_or_path={tiny_model}", "--max_new_tokens", "400")
    at = chat.wait_for("User: ", timeout_s=120)
    assert "Template  the model's own" in chat.shown
    chat.press("hello there\n")
    at = chat.wait_for("Assistant: ", after=at)
    chat.press(CTRL_C)
    at = chat.wait_for("User: ", after=at, timeout_s=60)
    chat.press("exit\n")
    assert chat.end(60) == 0
    assert "Traceback" not in chat.shown


def test_a_model_folder_without_weights_is_a_letter_in_every_command(lmf, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command, more in (("train", ("dataset=identity", "output_dir=o")), ("chat", ()), ("export", ("export_dir=e",))):
        done = lmf(command, "model_name_or_path=empty", *more)
        assert done.returncode == 2
        assert "empty" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 2
