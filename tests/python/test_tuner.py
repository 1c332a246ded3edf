"""`LLaMATuner`: trains with keyword arguments, answers with what was trained, and counts as it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from llama_factory import LLaMATuner
from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.recipes.answering import Answerer
from llama_factory.tuner import _trained

pytestmark = pytest.mark.slow
QUICK = {"max_steps": 80, "learning_rate": 5e-3, "per_device_train_batch_size": 4, "save_strategy": "no"}


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    for name in ("train", "eval"):
        rows = [{"prompt": f"{name} {number}", "response": "yes yes yes"} for number in range(8)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def tuner(tiny_model: Path, lines: list[str]) -> LLaMATuner:
    return LLaMATuner(model_name=str(tiny_model), say=lines.append)


def resolved(folder: Path) -> dict[str, Any]:
    found = yaml.safe_load((folder / "resolved_config.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_what_is_asked_after_training_has_the_adapters_beneath_the_new_one(tmp_path: Path) -> None:
    for given, expected in (
        ({}, ["out"]),
        ({"adapter_name_or_path": ["a", "b"]}, ["a", "out"]),
        ({"adapter_name_or_path": ["a", "b"], "create_new_adapter": True}, ["a", "b", "out"]),
    ):
        found = _trained(from_mapping({"model_name_or_path": "m", **given}, "here"), tmp_path / "out")
        assert found["adapter_name_or_path"] == [*expected[:-1], str(tmp_path / "out")]


def test_a_script_that_was_started_several_times_at_once_does_not_train_the_same_rows_in_each(
    tuner: LLaMATuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="WORLD_SIZE=2"):
        tuner.train("train.jsonl")
    assert not Path("saves").exists()


@pytest.mark.parametrize(
    ("keys", "method", "file"),
    [
        ({}, "full", "model.safetensors"),
        ({"use_lora": True, "lora_rank": 4, "lora_alpha": 8}, "lora", "adapter_model.safetensors"),
        ({"lora_rank": 4}, "lora", "adapter_model.safetensors"),
        ({"lora_r": 4}, "lora", "adapter_model.safetensors"),
        ({"use_lora": False}, "full", "model.safetensors"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 1}, "freeze", "model.safetensors"),
    ],
    ids=str,
)
def test_the_keys_say_which_weights_learn_and_a_plain_call_trains_them_all(
    keys: dict[str, Any], method: str, file: str, tuner: LLaMATuner
) -> None:
    outcome = tuner.train("train.jsonl", output_dir="out", max_steps=1, **keys)
    assert outcome.steps == 1
    assert resolved(outcome.folder)["finetuning_type"] == method
    assert (outcome.folder / file).is_file()


@pytest.mark.parametrize("keys", [{}, {"lora_rank": 8}], ids=["full", "lora"])
def test_after_training_the_trained_weights_answer(keys: dict[str, Any], tuner: LLaMATuner) -> None:
    before = tuner.generate("train 1", max_new_tokens=12)
    outcome = tuner.train("train.jsonl", **QUICK, **keys)
    after = tuner.generate("train 1", max_new_tokens=12)
    assert before != after == "yes yes yes"
    assert outcome.train_loss is not None


def test_max_length_counts_prompt_and_answer_as_transformers_does(tiny_model: Path, tuner: LLaMATuner) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    given = plain.apply_chat_template(
        [{"role": "user", "content": "Hello there"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    prompt = given["input_ids"].shape[1]
    for room in (1, 7):
        answer = tuner.generate("Hello there", max_length=prompt + room)
        with torch.inference_mode():
            expected = model.generate(**given, max_length=prompt + room, do_sample=False)[0, prompt:]
        assert len(expected) == room
        assert answer == plain.decode(expected, skip_special_tokens=True).rstrip("\ufffd")
    with pytest.raises(InputError) as caught:
        tuner.generate("Hello there", max_length=prompt)
    assert (caught.value.id, caught.value.values) == ("tuner.no-room", {"found": prompt, "limit": prompt})


def test_without_max_length_an_answer_has_at_most_1024_tokens_and_max_new_tokens_counts_it_alone(
    tuner: LLaMATuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Answerer, "answer", lambda self, ids, sampling: asked.append((len(ids), sampling)) or "")
    tuner.generate("Hello")
    tuner.generate("Hello", max_new_tokens=5)
    assert [(sampling.max_new_tokens, sampling.max_length) for _, sampling in asked] == [(1024, None), (5, None)]


def test_a_run_without_output_dir_gets_a_new_dated_folder_each_time(tuner: LLaMATuner) -> None:
    first = tuner.train("train.jsonl", max_steps=1).folder
    second = tuner.train("train.jsonl", max_steps=1).folder
    assert first != second
    for folder in (first, second):
        assert folder.parts[0] == "saves"
        assert re.fullmatch(r"tiny-model\d*-\d{8}-\d{6}(-\d+)?", folder.name)


def test_eval_data_is_measured_after_every_epoch_unless_it_is_said_otherwise(tuner: LLaMATuner) -> None:
    rows = {"per_device_train_batch_size": 4, "num_train_epochs": 1}
    outcome = tuner.train("train.jsonl", "eval.jsonl", "epoch", **rows)
    assert resolved(outcome.folder)["eval_strategy"] == "epoch"
    assert outcome.eval_loss is not None
    assert resolved(tuner.train("train.jsonl", "eval.jsonl", "steps", eval_steps=1, **rows).folder)["eval_steps"] == 1
    assert tuner.train("train.jsonl", "eval.jsonl", "never", eval_strategy="no", **rows).eval_loss is None


def test_what_a_call_says_goes_over_the_constructor_and_two_spellings_are_refused(
    tiny_model: Path, tuner: LLaMATuner, lines: list[str]
) -> None:
    eager = LLaMATuner(str(tiny_model), flash_attention="eager", say=lines.append)
    assert resolved(eager.train("train.jsonl", output_dir="a", max_steps=1).folder)["flash_attn"] == "eager"
    outcome = eager.train("train.jsonl", output_dir="b", max_steps=1, flash_attn="sdpa")
    assert resolved(outcome.folder)["flash_attn"] == "sdpa"
    with pytest.raises(LlamaFactoryError, match="batch_size"):
        tuner.train("train.jsonl", batch_size=1, per_device_train_batch_size=2)


def test_a_key_that_is_unknown_or_out_of_range_is_a_letter_before_anything_is_loaded(tuner: LLaMATuner) -> None:
    with pytest.raises(InputError, match=r"LLaMATuner\.train.*learning_rat`"):
        tuner.train("train.jsonl", learning_rat=1e-4)
    with pytest.raises(InputError, match="lora_rank"):
        tuner.train("train.jsonl", lora_rank=0)
    with pytest.raises(InputError, match="max_length"):
        tuner.generate("Hello", max_length=0)
    with pytest.raises(InputError, match="model_name_or_path"):
        LLaMATuner("")
    assert not Path("saves").exists()


def test_the_lines_of_a_run_are_said_and_end_with_what_to_do_next(tuner: LLaMATuner, lines: list[str]) -> None:
    tuner.train("train.jsonl", output_dir="out", lora_rank=2, max_steps=1)
    assert any(line.startswith("step 1/1") for line in lines)
    assert lines[-2].startswith("Talk to it:  llamafactory-cli chat")
    assert not any("train_data" in line for line in lines)


def test_a_second_process_answers_with_the_folder_that_the_first_one_left(tiny_model: Path, tuner: LLaMATuner) -> None:
    outcome = tuner.train("train.jsonl", output_dir="out", **QUICK)
    assert LLaMATuner(str(outcome.folder)).generate("train 1", max_new_tokens=12) == "yes yes yes"


def test_naming_the_class_loads_no_torch(own_place: Callable[[], None]) -> None:
    code = "import sys\nfrom llama_factory import LLaMATuner\nLLaMATuner('x')\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
