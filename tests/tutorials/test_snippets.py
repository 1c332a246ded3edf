"""Rows, registry entries and configurations as the tutorials print them, each trained with for a step."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow
Command = Callable[..., int]

WRITTEN_OTHERWISE: Mapping[str, Mapping[str, Any]] = {
    "002/yaml-template": {"template": "hunyuan", "default_system": "You are a helpful assistant."},
    "002/yaml-training-arguments": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 16},
    "002/yaml-fp16-mapping": {"fp16": True},
    "002/yaml-monitoring": {"report_to": ["tensorboard"], "logging_dir": "./logs"},
}
"""What a configuration says where that is not word by word the keys and values of the program."""


def words(model: Path, output: str, **more: object) -> list[str]:
    given = {"model_name_or_path": model, "stage": "sft", "dataset": "identity", "output_dir": output} | more
    return [f"{key}={value}" for key, value in given.items()]


def resolved(output: Path) -> dict[str, Any]:
    found = yaml.safe_load((output / "resolved_config.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def rows_of(text: str) -> list[Any]:
    """JSON as printed: an array, one object, or one object a line."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]
    return found if isinstance(found, list) else [found]


def test_rows_as_printed_are_read_and_trained_on(
    entry: Any, command: Command, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(entry.text)
    if len(rows) > 1:  # one object a line
        (tmp_path / "rows.jsonl").write_text(entry.text, encoding="utf-8")
    else:
        (tmp_path / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (file,) = tmp_path.glob("rows.json*")
    assert command("train", *words(tiny_model, "out", dataset=file.name, max_steps=1)) == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert f"{len(rows)} for training" in capsys.readouterr().out.replace("rows: ", "")


def test_a_registry_entry_as_printed_names_the_columns(
    entry: Any, command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset_info.json").write_text("{" + entry.text + "}", encoding="utf-8")
    row = {
        "prompt_key_in_your_data": "问题",
        "input_key_in_your_data": "",
        "output_key_in_your_data": "回答",
        "system_key_in_your_data": "系统",
        "history_key_in_your_data": [["早", "早上好"]],
    }
    (data / "your_data_name.json").write_text(json.dumps([row] * 2, ensure_ascii=False), encoding="utf-8")
    assert command("train", *words(tiny_model, "out", dataset="数据集名称", max_steps=1)) == 0
    assert resolved(tmp_path / "out")["dataset"] == ["数据集名称"]


CONVERSION = """
import json
from typing import List, Dict

def convert_to_sharegpt_format(conversations: List[Dict], system_prompt: str = "你是一个有帮助的AI助手") -> List[Dict]:
    formatted_data = []
    for conv in conversations:
        messages = [{"role": "system", "content": system_prompt}]
        for turn in conv["turns"]:
            if turn["role"] == "human":
                messages.append({"role": "user", "content": turn["content"]})
            elif turn["role"] == "assistant":
                if turn.get("requires_reasoning", False):
                    thinking_content = turn.get("thinking", "")
                    answer_content = turn["content"]
                    {thinking}
                else:
                    {fast}
                messages.append({"role": "assistant", "content": formatted_content})
        formatted_data.append({"messages": messages})
    return formatted_data

turns = [
    {"role": "human", "content": "什么是机器学习"},
    {"role": "assistant", "content": "机器学习是人工智能的一个分支。", "requires_reasoning": False},
]
formatted_data = convert_to_sharegpt_format([{"turns": turns}])
with open('data/training_data.json', 'w', encoding='utf-8') as f:
    json.dump(formatted_data, f, ensure_ascii=False, indent=2)
"""


def test_the_file_that_the_conversion_snippet_writes_is_trained_on_by_its_registered_name(
    inventory: Mapping[str, Any], command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    printed = inventory["002/convert-to-sharegpt"].text.splitlines()
    script = CONVERSION.replace("{thinking}", printed[2]).replace("{fast}", printed[3])
    assert all(line in script for line in printed)
    (tmp_path / "data").mkdir()
    (tmp_path / "convert.py").write_text(script, encoding="utf-8")
    subprocess.run([sys.executable, "convert.py"], cwd=tmp_path, check=True)
    (tmp_path / "data" / "dataset_info.json").write_text(inventory["002/register-sharegpt"].text, encoding="utf-8")
    assert command("train", *words(tiny_model, "out", dataset="my_custom_dataset", max_steps=1)) == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_a_configuration_as_printed_is_understood_and_trained_with(
    entry: Any,
    command: Command,
    tiny_model: Path,
    tiny_hunyuan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "printed.yaml").write_text(entry.yaml, encoding="utf-8")
    model = tiny_hunyuan if "hunyuan" in entry.text else tiny_model
    assert command("train", "printed.yaml", *words(model, "out", max_samples=4, max_steps=2)) == 0
    understood, said = resolved(tmp_path / "out"), capsys.readouterr().out
    expected = dict(WRITTEN_OTHERWISE.get(entry.name) or yaml.safe_load(entry.yaml))
    expected.pop("max_steps", None)  # ours says 2
    assert set(expected) & set(understood)
    for key, value in expected.items():
        if key not in understood:  # without effect here, and said to be
            assert f"`{key}`" in said
            continue
        assert understood[key] == (float(value) if isinstance(understood[key], float) else value), key


def test_early_stopping_as_printed_stops_a_run_that_gets_no_better(
    inventory: Mapping[str, Any], command: Command, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows learned by heart make the validation loss rise: after three measurements that are no better, it ends."""
    entry = inventory["002/yaml-early-stopping"]
    (tmp_path / "printed.yaml").write_text(entry.yaml, encoding="utf-8")
    for name, answer in (("train", "yes"), ("eval", "not at all")):
        rows = [{"prompt": f"Question {number}", "response": answer} for number in range(4)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    more = {"dataset": "train.json", "eval_dataset": "eval.json", "learning_rate": 0.01, "eval_steps": 4}
    given = words(tiny_model, "out", max_steps=200, save_steps=3, finetuning_type="full", **more)
    assert command("train", "printed.yaml", *given) == 0
    said, understood = capsys.readouterr().out, resolved(tmp_path / "out")
    assert {key: understood[key] for key in yaml.safe_load(entry.yaml)} == yaml.safe_load(entry.yaml)
    assert "stopped early after step" in said
    assert "3 evaluations in a row" in said
    log = (tmp_path / "out" / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = {line["current_steps"]: line["eval_loss"] for line in map(json.loads, log) if "eval_loss" in line}
    best = min(losses, key=lambda step: losses[step])
    assert max(losses) == best + 3 * 4 < 200
    assert f"the result has the weights of step {best}" in said
    record = json.loads((tmp_path / "out" / "best" / "best.json").read_text(encoding="utf-8"))
    assert (record["step"], record["metrics"]["eval_loss"]) == (best, losses[best])
    published = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert published == (tmp_path / "out" / "best" / "model.safetensors").read_bytes()


def test_the_shape_that_a_file_states_is_compared_with_the_model(
    entry: Any, command: Command, tiny_hunyuan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "printed.yaml").write_text(entry.yaml, encoding="utf-8")
    given = words(tiny_hunyuan, "out", template="hunyuan", max_samples=4, max_steps=1)
    assert command("train", "printed.yaml", *given) == 2
    letter = capsys.readouterr().err
    assert "hidden_size" in letter
    assert "2048" in letter
    assert "32" in letter
    right = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    fitting = [f"{key}={value}" for key, value in {**right, "intermediate_size": 64}.items()]
    assert command("train", "printed.yaml", *given, *fitting) == 0


def test_accumulation_as_printed_is_a_key_of_the_command_line(
    entry: Any, command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    key, value = entry.text.split("#")[0].split("=")
    given = words(tiny_model, "out", per_device_train_batch_size=16, max_steps=1)
    assert command("train", *given, f"{key.strip()}={value.strip()}") == 0
    understood = resolved(tmp_path / "out")
    assert understood["per_device_train_batch_size"] * understood["gradient_accumulation_steps"] == 64


def test_a_configuration_that_is_not_built_yet_is_refused_by_name(
    entry: Any, command: Command, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "printed.yaml").write_text(entry.yaml, encoding="utf-8")
    assert command("train", "printed.yaml", *words(tiny_model, "out", max_steps=1)) == 2
    letter = capsys.readouterr().err
    assert f"`{entry.refused}`" in letter
    assert "printed.yaml" in letter
    assert not (tmp_path / "out").exists()


def test_a_labelled_row_is_refused_by_its_place(
    entry: Any, command: Command, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labelled.json").write_text(f"[{entry.text}]", encoding="utf-8")
    assert command("train", *words(tiny_model, "out", dataset="labelled.json", max_steps=1)) == 3
    letter = capsys.readouterr().err
    assert "labelled.json" in letter
    assert "label" in letter


def test_a_name_that_is_not_there_yet_cannot_be_imported(entry: Any) -> None:
    module, name = entry.imports.rsplit(".", 1)
    package = importlib.import_module("llama_factory")
    if importlib.util.find_spec(module) is None:
        with pytest.raises(ModuleNotFoundError, match=module):
            importlib.import_module(module)
    else:
        assert not hasattr(importlib.import_module(module) if module != "llama_factory" else package, name)
