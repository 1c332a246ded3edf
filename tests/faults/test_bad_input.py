"""Bad input, as a person meets it: the real command line answers with a short letter and the right exit code.

Every case asserts the exit code, the place that the letter names, that no traceback is on screen, that the letter
is short, and that nothing which was there before is lost.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llama_factory.apps.cli import main

GOOD = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]}
BROKEN_TOKENIZER = "tokenizer.json"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")


def rows(folder: Path, *lines: object) -> Path:
    file = folder / "rows.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    return file


def turns(*pairs: tuple[str, str]) -> dict:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def yaml_of(folder: Path, model: Path, data: Path, **changes: object) -> Path:
    keys = {
        "model_name_or_path": model,
        "dataset": data,
        "output_dir": folder / "run",
        "max_steps": 2,
        "bf16": False,
        "report_to": "none",
    } | changes
    file = folder / "train.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()), encoding="utf-8")
    return file


def told(capsys, *words: str) -> tuple[int, str]:
    code = main(list(words))
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    letter = said.err.strip()
    assert 0 < len(letter.splitlines()) <= 12, letter
    return code, letter


BAD_ROWS: dict[str, tuple[object, list[str]]] = {
    "broken JSON": ('{"messages": [', ["rows.jsonl:2"]),
    "ends with the user": (turns(("user", "a"), ("assistant", "b"), ("user", "c")), ["rows.jsonl:2", "user"]),
    "an empty answer": (turns(("user", "a"), ("assistant", "  ")), ["rows.jsonl:2"]),
    "an unknown role": (turns(("user", "a"), ("asistant", "b")), ["rows.jsonl:2", "asistant", "assistant"]),
    "no messages": ({"messages": []}, ["rows.jsonl:2"]),
    "a key missing": ({"text": "a"}, ["rows.jsonl:2"]),
    "not an object": ([1, 2], ["rows.jsonl:2"]),
    "system in the middle": (turns(("user", "a"), ("system", "s"), ("assistant", "b")), ["rows.jsonl:2", "system"]),
    "content that is a number": (
        turns(("user", "a")) | {"messages": [{"role": "user", "content": 3}]},
        ["rows.jsonl:2"],
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_with_file_and_line(tiny_model, tmp_path, capsys, name) -> None:
    row, wanted = BAD_ROWS[name]
    file = yaml_of(tmp_path, tiny_model, rows(tmp_path, GOOD, row, GOOD))
    code, letter = told(capsys, "train", str(file))
    assert code == 3, letter
    for word in wanted:
        assert word in letter
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists()


def test_skipping_bad_rows_counts_and_lists_them(tiny_model, tmp_path, capsys) -> None:
    bad = [row for row, _ in BAD_ROWS.values()]
    file = yaml_of(tmp_path, tiny_model, rows(tmp_path, *[GOOD] * 4, *bad), on_bad_row="skip")
    assert main(["train", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"{len(bad)}" in said
    assert "rows.jsonl:5" in said


def case_missing_data(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, folder / "nowhere.jsonl")


def case_unknown_dataset(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, Path("identitty"))


def case_empty_data(folder: Path, model: Path) -> Path:
    (folder / "empty.jsonl").touch()
    return yaml_of(folder, model, folder / "empty.jsonl")


def case_unknown_template(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), template="qwenn")


def case_other_template(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), template="alpaca")


def case_no_model(folder: Path, model: Path) -> Path:
    return yaml_of(folder, folder / "nowhere", rows(folder, GOOD))


def case_no_weights(folder: Path, model: Path) -> Path:
    shutil.copytree(model, folder / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    return yaml_of(folder, folder / "model", rows(folder, GOOD))


def case_cut_weights(folder: Path, model: Path) -> Path:
    shutil.copytree(model, folder / "model")
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return yaml_of(folder, folder / "model", rows(folder, GOOD))


def case_no_tokenizer(folder: Path, model: Path) -> Path:
    shutil.copytree(model, folder / "model", ignore=shutil.ignore_patterns("tokenizer*", "chat_template*"))
    return yaml_of(folder, folder / "model", rows(folder, GOOD))


def case_other_architecture(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), hidden_size=12345)


def case_unknown_target(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), lora_target="q_prroj")


def case_unknown_key(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), learning_rat=1e-3)


def case_wrong_value(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), learning_rate="fast")


def case_too_long(folder: Path, model: Path) -> Path:
    return yaml_of(folder, model, rows(folder, GOOD), cutoff_len=3)


CASES: dict[str, tuple[Callable[[Path, Path], Path], int, str]] = {
    "a missing data file": (case_missing_data, 2, "nowhere.jsonl"),
    "an unknown data set": (case_unknown_dataset, 2, "identity"),
    "an empty data file": (case_empty_data, 3, "empty.jsonl"),
    "an unknown template": (case_unknown_template, 2, "`qwen`"),
    "another template than the model's": (case_other_template, 2, "allow_template_mismatch"),
    "a model folder that is not there": (case_no_model, 2, "nowhere"),
    "a model folder without weights": (case_no_weights, 2, "safetensors"),
    "weights that are cut off": (case_cut_weights, 2, "model"),
    "a model folder without a tokenizer": (case_no_tokenizer, 2, "tokenizer"),
    "an architecture that is not the model's": (case_other_architecture, 2, "hidden_size"),
    "a LoRA target that no layer has": (case_unknown_target, 2, "q_proj"),
    "an unknown key": (case_unknown_key, 2, "learning_rate"),
    "a value of the wrong kind": (case_wrong_value, 2, "learning_rate"),
    "rows that are all too long": (case_too_long, 3, "cutoff_len"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_a_short_letter_with_the_right_exit_code(tiny_model, tmp_path, capsys, name) -> None:
    make, wanted_code, wanted_word = CASES[name]
    code, letter = told(capsys, "train", str(make(tmp_path, tiny_model)))
    assert code == wanted_code, letter
    assert wanted_word in letter


def test_a_missing_configuration_is_a_letter(tmp_path, capsys) -> None:
    code, letter = told(capsys, "train", str(tmp_path / "nowhere.yaml"))
    assert code == 2
    assert "nowhere.yaml" in letter


def test_an_output_dir_of_another_run_keeps_its_files(tiny_model, tmp_path, capsys) -> None:
    file = yaml_of(tmp_path, tiny_model, rows(tmp_path, GOOD, GOOD))
    assert main(["train", str(file)]) == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in sorted((tmp_path / "run").rglob("*")) if p.is_file()}
    code, letter = told(capsys, "train", str(file), "lora_rank=16")
    assert code == 2
    assert "overwrite_output_dir" in letter
    assert {p: p.read_bytes() for p in before} == before


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "llama_factory", *words]


@pytest.mark.faults
def test_ctrl_c_saves_and_the_same_command_goes_on(tiny_model, tmp_path) -> None:
    file = yaml_of(tmp_path, tiny_model, rows(tmp_path, *[GOOD] * 8), max_steps=2000, logging_steps=1)
    log = tmp_path / "run" / "trainer_log.jsonl"
    with subprocess.Popen(
        command("train", str(file)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        wait_for(lambda: log.exists() and log.read_text().count("\n") > 3, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert "Traceback" not in said
    (kept,) = (tmp_path / "run").glob("checkpoint-*")
    assert kept.name in said
    step = int(kept.name.split("-")[1])
    assert main(["train", str(file), f"max_steps={step + 2}", "resume_from_checkpoint=true"]) == 0
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()


@pytest.mark.faults
def test_a_full_disk_while_saving_is_a_letter_and_keeps_the_last_checkpoint(tiny_model, tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        file = yaml_of(
            tmp_path, tiny_model, rows(tmp_path, *[GOOD] * 8), max_steps=60, save_steps=1, output_dir=disk / "run"
        )
        done = subprocess.run(command("train", str(file)), capture_output=True, text=True, timeout=300)
        assert done.returncode == 4, done.stderr
        assert "Traceback" not in done.stderr
        assert "disk" in done.stderr.lower() or "space" in done.stderr.lower()
        from llama_factory import storage

        newest, broken = storage.find_newest(disk / "run")
        assert newest is not None
        assert not broken
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
