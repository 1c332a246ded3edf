"""`plan`: a page, a table, a choice and a configuration that the other commands accept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_commands import Told, in_process

from llama_factory.planner.choice import Room, Way, of
from llama_factory.planner.known import KNOWN
from llama_factory.planner.speed import Rates
from llama_factory.recipes import plan as recipe
from llama_factory.records import ModelShape
from llama_factory.testing.tiny import tiny_config


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    monkeypatch.setattr(recipe, "rates_here", lambda shape, setup: Rates(5e11, 2e10))
    return in_process("plan", tmp_path, capsys)


def object_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)
    return found


def rows_of_many_lengths(tmp_path: Path) -> str:
    rows = [{"prompt": "many words " * (1 + i % 9), "response": "an answer"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "dataset=rows.jsonl"


def accepted(yaml: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check --config-only` finds nothing wrong with it."""
    (tmp_path / "planned.yaml").write_text(yaml)
    code, out, err = in_process("check", tmp_path, capsys)("planned.yaml", "--config-only")
    assert code == 0, out + err


@pytest.mark.parametrize("memory", ["300GB", "80GB", "24GB"])
def test_a_name_is_enough_and_the_configuration_is_accepted(
    memory: str, told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told("--model", "Qwen2.5-7B", "--memory", memory, "--gpus", "2", "--json")
    assert (code, err) == (0, "")
    found = object_of(out)
    assert found["model"]["parameters"] == 7_615_616_512
    assert len(found["table"]) == 17
    assert found["assumed"] == ["planner.lengths-assumed"]
    assert set(found["each_of_several_gpus"]) == {"ddp", "zero1", "zero2", "zero3"}
    if found["choice"] is None:
        assert found["changes"]
    else:
        assert found["choice"]["total"] <= 0.8 * found["room"]["memory"]
    assert "model_name_or_path: Qwen/Qwen2.5-7B" in found["yaml"]
    accepted(found["yaml"], tmp_path, capsys)


def test_a_page_has_the_table_the_choice_and_the_reason(told: Told) -> None:
    code, out, _ = told("--model", "Qwen2.5-7B", "--gpu", "a100", "--rows", "20000", "--hours", "12")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) <= 50
    assert "7.62 billion weights" in lines[0]
    assert "80 GB on each of 1 GPU(s) (a100)" in lines[1]
    table = {line.split("  ")[1]: line for line in lines if line.startswith("  ") and "*" in line}
    assert "(76.2, 15.2)" in table["lora"]
    assert any(line.startswith("Take lora, 16 bit: the best result that fits the memory and 12 h.") for line in lines)
    assert any("full would take" in line for line in lines)
    assert any(line.strip() == "finetuning_type: lora" for line in lines)


def test_a_choice_that_fits_only_with_checkpointing_says_so(told: Told) -> None:
    _, out, _ = told("--model", "Qwen2.5-7B", "--memory", "23GB")
    table = next(line for line in out.splitlines() if line.startswith("  lora "))
    assert "*" not in table, "as the table counts, nothing of it fits"
    (choice,) = re.findall(r"^Take lora, 16 bit, with gradient checkpointing \(([\d.]+ GB)\): ", out, re.MULTILINE)
    assert f"with gradient checkpointing: 1x16 {choice}, " in out


def test_a_folder_with_nothing_but_a_configuration_is_a_model(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "config.json").write_text(json.dumps(tiny_config("llama").to_dict()))
    code, out, _ = told("--model", "only", "--json", "lora_rank=4", "cutoff_len=32")
    assert code == 0
    found = object_of(out)
    assert found["choice"]["hours"] is None  # nobody said how many rows there are
    assert "lora_rank: 4" in found["yaml"] or found["choice"]["method"] == "full"
    accepted(found["yaml"], tmp_path, capsys)


def test_a_run_is_planned_with_its_own_rows_and_refused_where_it_does_not_fit(
    told: Told, tiny_model: Path, tmp_path: Path
) -> None:
    words = (
        f"model_name_or_path={tiny_model}",
        rows_of_many_lengths(tmp_path),
        "output_dir=out",
        "per_device_train_batch_size=4",
    )
    code, out, err = told(*words, "--json")
    assert code == 0, err
    found = object_of(out)
    assert found["assumed"] == []
    assert found["run"]["fits"]
    assert found["run"]["hours"] > 0
    code, out, _ = told(*words, "--memory", "10MB")
    assert code == 4
    assert "does not fit" in out


def test_rows_for_new_tokens_are_counted(told: Told, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "Say it.", "output": "It."}] * 8))
    words = (f"model_name_or_path={tiny_model}", "dataset=rows.json", "output_dir=out")

    def planned(*more: str) -> dict[str, Any]:
        code, out, err = told(*words, *more, "--memory", "4GB", "--json")
        assert code == 0, out + err
        return object_of(out)

    # 600 rows of 32 in an embedding and in a head become 640; of what learns a checkpoint holds masters and two moments
    # in fp32, beside the result: an adapter in fp32, or the model in bf16
    parts = {"lora": (4 + 12) * 2 * 32, "freeze": 2 * 2 * 40 * 32 + 12 * 2 * 640 * 32}
    for method, checkpoint in parts.items():
        plain, grown = (planned(f"finetuning_type={method}", *tokens) for tokens in ((), ("add_tokens=<a>",)))
        assert grown["model"]["parameters"] - plain["model"]["parameters"] == 2 * 40 * 32
        assert grown["disk"]["checkpoint"] - plain["disk"]["checkpoint"] == checkpoint
        assert grown["run"]["total"] > plain["run"]["total"]


def test_what_cannot_be_planned_is_a_letter(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for words, said in (
        (("--model", "qwen2.5-8b"), "no well-known model (`qwen2.5-"),
        (("--model", "empty"), "needs a folder with a config.json"),
        (("--model", "Qwen2.5-7B", "--gpu", "a1000"), "`a100`?"),
        (("--model", "Qwen2.5-7B", "--memory", "many"), "24GB"),
        ((), "expected a configuration or --model"),
        (("train.yaml", "--model", "Qwen2.5-7B"), "expected a configuration or --model"),
    ):
        code, _, err = told(*words)
        assert code == 2, words
        assert said in err, words


def test_a_model_that_no_change_helps_gets_a_smaller_one_and_no_configuration(told: Told) -> None:
    code, out, _ = told("--model", "llama-2-70b", "--memory", "24GB", "--json")
    assert code == 0
    found = object_of(out)
    if found["yaml"] == "":
        assert found["smaller_model"] in {one.hub for one in KNOWN.values()}
        assert found["changes_together"]
    else:
        assert "quantization_bit" in found["yaml"]


def test_both_languages(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "zh")
    code, out, _ = told("--model", "Qwen2.5-0.5B", "--memory", "16GB")
    assert code == 0
    assert "选择" in out
    assert "显存" in out


SLOW_IN_FEW_BITS = {"finetuning_type": "lora", "quantization_bit": 4, "double_quantization": False, "loftq_init": True}


@pytest.mark.parametrize(
    ("written", "chosen", "gone"),
    [
        (SLOW_IN_FEW_BITS, ("lora", 16), ("quantization_bit", "double_quantization", "loftq_init")),
        ({"finetuning_type": "full", "pure_bf16": True, "use_badam": True}, ("lora", 16), ("pure_bf16", "use_badam")),
        ({"finetuning_type": "lora", "pissa_init": True, "logging_steps": 7}, ("lora", 4), ("pissa_init",)),
    ],
)
def test_a_configuration_that_takes_too_long_becomes_the_choice_and_nothing_else(
    written: dict[str, Any], chosen: tuple[str, int], gone: tuple[str, ...], told: Told, tiny_model: Path,
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The choice is made up, one row at a time and with checkpointing: what it is written as is looked at here."""

    def choose(shape: ModelShape, ways: list[Way], room: Room, runnable: object) -> Way:
        one = next(one for one in ways if (one.name, one.setup.bits) == chosen)
        assert len(one.setup.lengths) > 1
        return of(shape, replace(one.setup, lengths=one.setup.lengths[:1], checkpointing=True), room, one.name)

    monkeypatch.setattr(recipe.choice, "choose", choose)
    words = [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in written.items()]
    own = (
        f"model_name_or_path={tiny_model}",
        rows_of_many_lengths(tmp_path),
        "output_dir=out",
        *words,
        "per_device_train_batch_size=4",
    )
    code, out, err = told(*own, "--hours", "1e-9", "--json")
    assert code == 0, err
    found = object_of(out)
    assert not [key for key in gone if f"{key}:" in found["yaml"]]
    assert ("quantization_bit: 4" in found["yaml"]) == (chosen[1] == 4)
    assert "gradient_checkpointing: true" in found["yaml"]
    assert "micro_batch_tokens: " in found["yaml"]
    assert all(f"{key}:" in found["yaml"] for key in written if key not in gone)
    accepted(found["yaml"], tmp_path, capsys)


def test_a_configuration_that_fits_is_said_to_stay_below_a_better_choice(
    told: Told, tiny_model: Path, tmp_path: Path
) -> None:
    own = (f"model_name_or_path={tiny_model}", rows_of_many_lengths(tmp_path), "output_dir=out", "quantization_bit=4")
    _, out, err = told(*own)
    assert re.search(r"^Take lora, 16 bit", out, re.MULTILINE), out + err
    assert "Your configuration fits as it is and stays as it is" in out
    assert "  quantization_bit: 4" in out.splitlines()
