"""The commands of the tutorials, typed as they are printed, by the installed program, in folders of their own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAIN = "llamafactory-cli train stage=sft dataset=identity max_samples=8 output_dir=out"
pytestmark = pytest.mark.slow
Typed = Callable[..., subprocess.CompletedProcess[str]]
Inventory = Mapping[str, Any]


def example(name: str, folder: Path, **replaced: str) -> Path:
    """A copy of an example in a folder where a person has put their own paths into it."""
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    for key, value in replaced.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{key}:")]
        text = text.replace(line, f"{key}: {value}" if value else f"# {line}")
    copy = folder / "examples" / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    return copy


def test_version_is_printed_as_the_tutorial_expects(inventory: Inventory, typed: Typed, tmp_path: Path) -> None:
    from llama_factory import __version__

    done = typed(inventory["003/version"].text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LLaMA Factory" in done.stdout
    assert __version__ in done.stdout


def test_the_checks_of_the_installed_versions_run_as_printed(entry: Any, typed: Typed, tmp_path: Path) -> None:
    done = typed(entry.text.strip(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.xdist_group("packaging")
def test_the_distribution_is_installed_by_the_name_that_the_tutorial_uses(
    inventory: Inventory, installed: Path, tmp_path: Path
) -> None:
    assert inventory["000/pip-llama-factory"].text.split()[2] == "llama-factory"
    done = subprocess.run([installed / "llamafactory-cli", "version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.xdist_group("packaging")
def test_an_editable_install_as_printed_gives_a_working_command(
    entry: Any, typed: Typed, clone: Path, new_environment: Callable[[], Path], tmp_path: Path
) -> None:
    folder = new_environment()
    text = entry.text.replace("pip install", f"pip --python {folder / 'bin' / 'python'} install")
    done = typed(text, clone)
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import llama_factory, llama_factory.shipped as s; print(llama_factory.__file__, s.data_folder())"
    where = subprocess.run([folder / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert where.stdout.split() == [str(clone / "src/llama_factory/__init__.py"), str(clone / "data")], where.stderr
    assert subprocess.run([folder / "bin" / "llamafactory-cli", "version"], cwd=tmp_path).returncode == 0


@pytest.mark.xdist_group("packaging")
def test_train_bash_trains_as_printed_once_it_is_told_the_data(
    entry: Any, typed: Typed, clone: Path, tiny_model: Path
) -> None:
    if not (clone / "llama-7b").exists():
        (clone / "llama-7b").symlink_to(tiny_model)
    alone = typed(entry.text, clone)
    assert alone.returncode == 2
    assert "`dataset`" in alone.stderr
    told = typed(entry.text, clone, more="--dataset identity --max_samples 16 --max_steps 2")
    assert told.returncode == 0, told.stderr
    output = clone / entry.text.split()[-1]
    trained = "adapter_model.safetensors" if "lora_rank" in entry.text else "model.safetensors"
    assert (output / trained).is_file()


def test_the_hunyuan_commands_train_as_printed(
    inventory: Inventory, typed: Typed, tiny_hunyuan: Path, tmp_path: Path
) -> None:
    setting = inventory["002/disable-version-check"].text.removeprefix("export ")
    assert inventory["002/disable-version-check-again"].text.endswith(setting)
    shape = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    example("hunyuan/hunyuan_full.yaml", tmp_path, model_name_or_path=str(tiny_hunyuan), **dict.fromkeys(shape, ""))
    done = typed(f"{setting} {inventory['002/train-hunyuan'].text}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "saves/hunyuan-1.8b/full/sft/model.safetensors").is_file()
    assert any((tmp_path / "logs").rglob("events.out.tfevents*"))


def test_a_launch_on_several_machines_is_refused_by_name(
    inventory: Inventory, typed: Typed, tiny_hunyuan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"NNODES": "4", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(key, value)
    example("hunyuan/hunyuan_full.yaml", tmp_path, model_name_or_path=str(tiny_hunyuan))
    done = typed(inventory["002/train-several-machines"].text, tmp_path)
    assert done.returncode == 2
    assert "FORCE_TORCHRUN" in done.stderr or "NNODES" in done.stderr
    assert not (tmp_path / "saves").exists()


@pytest.mark.parametrize("step", ["train", "merge", "inference"])
def test_the_example_files_stand_where_and_as_printed(step: str, inventory: Inventory) -> None:
    names = {"train": "003/vim-train", "merge": "003/vim-merge", "inference": "003/vim-inference"}
    file = ROOT / inventory[names[step]].text.split()[1]
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == yaml.safe_load(inventory[f"003/yaml-{step}"].text)


def test_the_qwen2_tutorial_is_walked_from_training_to_chat(
    inventory: Inventory, typed: Typed, tiny_model: Path, tmp_path: Path
) -> None:
    """Data registered, three files with the user's model path in them, three commands as printed."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copyfile(ROOT / "data" / "prompt_response_zh.jsonl", data / "align_anything.jsonl")
    columns = {"prompt": "prompt", "response": "response"}
    registry = {"align_anything": {"file_name": "align_anything.jsonl", "columns": columns}}
    (data / "dataset_info.json").write_text(json.dumps(registry), encoding="utf-8")
    for entry, name in {
        "003/yaml-train": "train_lora",
        "003/yaml-merge": "merge_lora",
        "003/yaml-inference": "inference",
    }.items():
        file = tmp_path / "examples" / name / "qwen2_lora_sft.yaml"
        file.parent.mkdir(parents=True)
        text = inventory[entry].text.replace("/username/model/Qwen2-7B", str(tiny_model))
        file.write_text(text, encoding="utf-8")

    trained = typed(inventory["003/train"].text, tmp_path)
    assert trained.returncode == 0, trained.stderr
    output = tmp_path / "saves/qwen2-7b/lora/sft"
    assert (output / "adapter_model.safetensors").is_file()
    assert (output / "training_loss.png").is_file()
    lines = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    assert any("eval_loss" in line for line in lines)

    exported = typed(inventory["003/export"].text, tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "models/qwen2_lora_sft/model.safetensors").is_file()

    talked = typed(inventory["003/chat"].text, tmp_path, stdin="什么是过拟合?\nexit\n")
    assert talked.returncode == 0, talked.stderr


def test_tensorboard_finds_the_losses_where_logging_dir_says(
    inventory: Inventory, typed: Typed, tiny_model: Path, tmp_path: Path
) -> None:
    more = f"model_name_or_path={tiny_model} max_steps=3 logging_steps=1 logging_dir=runs"
    done = typed(TRAIN, tmp_path, more=more)
    assert done.returncode == 0, done.stderr
    seen = typed(inventory["004/tensorboard"].text, tmp_path, more="--inspect")
    assert seen.returncode == 0, seen.stderr
    assert "loss" in seen.stdout


def test_the_log_is_followed_by_the_command_of_the_tutorial(
    inventory: Inventory, typed: Typed, tiny_model: Path, tmp_path: Path
) -> None:
    """Two programs and a pipe, as printed. `tail -f` goes on for ever, so it is ended once it has shown the run."""
    more = f"model_name_or_path={tiny_model} max_steps=4 logging_steps=2"
    assert typed(TRAIN, tmp_path, more=more).returncode == 0
    tail, grep = (shlex.split(part) for part in inventory["004/tail-train-log"].text.split("|"))
    assert (tmp_path / tail[-1]).resolve() == tmp_path / "out" / "train.log"
    with (
        subprocess.Popen(tail, cwd=tmp_path, stdout=subprocess.PIPE) as following,
        subprocess.Popen(grep, stdin=following.stdout, stdout=subprocess.PIPE, text=True) as found,
    ):
        time.sleep(1)
        following.terminate()
        lines, _ = found.communicate(timeout=60)
    assert len(re.findall(r"^\[epoch \d+/\d+\] loss: \d+\.\d\d \d+\.\d\d \(step [24]\)$", lines, re.MULTILINE)) == 2


def test_a_snippet_that_is_started_by_python_is_started_by_ours() -> None:
    """`typed` replaces `python` by this interpreter; were it another one, nothing here would prove anything."""
    assert Path(sys.executable).parent.joinpath("llamafactory-cli").is_file()
