"""`check`: each finding has a planted case, a clean run has none, and `train` refuses what would teach nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planting import LONG, Row, copy_of, good_rows, ids, require_found, settings, write
from safetensors.numpy import load_file, save_file

from llama_factory import recipes
from llama_factory.apps.cli import main
from llama_factory.config import from_mapping
from llama_factory.config.audit import total_steps
from llama_factory.config.optimizers import MODULES
from llama_factory.errors import DataError, InputError
from llama_factory.model import audit as model_audit
from llama_factory.model import load, weights
from llama_factory.model.methods import Start
from llama_factory.model.quantised import loading
from llama_factory.trainer import FitPlan


def test_a_run_without_faults_has_no_finding(checked) -> None:
    report = checked()
    assert report.findings == []
    assert report.exit_code == 0
    assert report.summary["train_rows"] == 240
    assert report.summary["total_steps"] == 120
    assert report.summary["checkpoint_bytes"] > 0


PLANTED: dict[str, tuple[list[Row] | None, dict[str, Any], str]] = {
    "config.rate-low": (None, {"learning_rate": 1e-6}, "warning"),
    "config.rate-high": (None, {"learning_rate": 1e-3, "finetuning_type": "full"}, "warning"),
    "config.few-steps": (good_rows(20), {}, "warning"),
    "config.by-heart": (good_rows(60), {"num_train_epochs": 30}, "note"),
    "config.save-after-end": (None, {"save_steps": 121}, "note"),
    "config.rate-stays-zero": (None, {"max_steps": 1, "warmup_steps": 1}, "error"),
    "config.warmup-fills-run": (None, {"max_steps": 60, "warmup_steps": 60}, "warning"),
    "data.little-trained": ([{"prompt": "Read this. " * 180, "response": "a"}] * 60, {}, "warning"),
    "data.mostly-trained": (
        [{"prompt": "a", "response": f"{i} is what I say. " * 150} for i in range(60)],
        {},
        "warning",
    ),
    "data.rows-skipped": ([*good_rows(), {"prompt": "Why?", "response": ""}], {"on_bad_row": "skip"}, "warning"),
    "data.rows-too-long": ([*good_rows(), LONG], {"cutoff_len": 128}, "warning"),
    "data.placeholder": ([*good_rows(), {"prompt": "Who?", "response": "I am {{name}}."}], {}, "warning"),
    "data.thought-marks": ([*good_rows(), {"prompt": "Why?", "response": "<think>\nSo.\nSo it is."}], {}, "warning"),
    "data.keys-not-read": ([*good_rows(), {"prompt": "Who?", "response": "I.", "mood": "gay"}], {}, "note"),
    "data.duplicates": ([*good_rows(), good_rows()[7]], {}, "warning"),
    "render.stop-never-trained": ([LONG] * 3, {"cutoff_len": 128, "on_too_long": "truncate"}, "error"),
    "render.stop-not-trained": ([*good_rows(), LONG], {"cutoff_len": 128, "on_too_long": "truncate"}, "warning"),
}


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.plants(id)) for id in PLANTED])
def test_what_is_planted_is_found(checked, id: str) -> None:
    rows, changes, severity = PLANTED[id]
    report = checked(rows, **changes)
    require_found(report, id, severity)
    assert report.exit_code == (0 if severity != "error" else 3 if id.startswith(("data.", "render.")) else 2)


def test_a_copy_is_named_with_the_row_that_it_copies(checked) -> None:
    (found,) = checked([*good_rows(), good_rows()[7], good_rows()[7]]).findings
    assert found.where.endswith("rows.jsonl:241")
    assert found.values["first"].endswith("rows.jsonl:8")
    assert found.values["count"] == 2


@pytest.mark.plants("machine.no-optimizer-library")
def test_an_optimizer_whose_package_is_missing_is_found(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "lion-pytorch", "no_such_package_at_all")  # type: ignore[arg-type]
    report = checked(optim="lion", learning_rate=3e-5)
    (found,) = report.findings
    assert (found.id, found.severity, found.values["extra"]) == ("machine.no-optimizer-library", "error", "optim")
    assert report.exit_code == 4


@pytest.mark.plants("data.leak")
def test_a_validation_row_that_is_trained_on_is_found(checked, tmp_path: Path) -> None:
    other = {"prompt": "And now?", "response": "Nothing."}
    judged = write(tmp_path / "judged.jsonl", [other, good_rows()[3]])
    (found,) = (one for one in checked(eval_dataset=judged).findings if one.id.startswith("data."))
    assert found.id == "data.leak"
    assert (found.severity, found.values["count"], found.values["rows"]) == ("warning", 1, 2)
    assert found.where.endswith("judged.jsonl:2")
    assert found.values["first"].endswith("rows.jsonl:4")


@pytest.mark.plants("data.files-chosen")
def test_a_file_of_a_folder_that_is_not_read_is_named(checked, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "train.jsonl", good_rows())
    write(tmp_path / "set" / "test.jsonl", good_rows(1))
    (found,) = checked(dataset=str(tmp_path / "set")).findings
    assert (found.id, found.severity, found.values["left"]) == ("data.files-chosen", "note", "test.jsonl")


@pytest.mark.plants("data.fewer-samples")
def test_more_samples_than_there_are_rows_are_noted(checked, tmp_path: Path) -> None:
    write(tmp_path / "few.jsonl", good_rows())
    info = {"few": {"file_name": "few.jsonl", "num_samples": 500}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (found,) = checked(dataset="few", dataset_dir=str(tmp_path)).findings
    assert (found.id, found.severity, found.values) == ("data.fewer-samples", "note", {"wanted": 500, "found": 240})


def test_copies_on_both_sides_of_a_split_are_a_leak(checked) -> None:
    assert "data.leak" in ids(checked([*good_rows(60), *good_rows(60)], val_size=0.3))


@pytest.mark.plants("render.pad-is-stop")
def test_padding_with_the_stop_token_is_noted(checked, tiny_model: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_model, tmp_path / "model", "tokenizer_config.json", pad_token="<|im_end|>")
    assert ids(checked(model_name_or_path=model)) == ["render.pad-is-stop"]


@pytest.mark.plants("render.stop-not-in-config")
def test_a_configuration_that_stops_elsewhere_is_noted(checked, tiny_model: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_model, tmp_path / "model", eos_token_id=5)
    (tmp_path / "model" / "generation_config.json").unlink(missing_ok=True)
    assert ids(checked(model_name_or_path=model)) == ["render.stop-not-in-config"]


@pytest.mark.plants("render.tokenizer-differs")
def test_a_tokenizer_that_transformers_reads_in_another_way_is_found(
    checked, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copy_of(tiny_model, tmp_path / "model", "tokenizer_config.json", tokenizer_class="LlamaTokenizerFast")
    (found,) = checked(model_name_or_path=model).findings
    assert (found.id, found.severity) == ("render.tokenizer-differs", "warning")
    assert found.where.endswith("model/tokenizer.json")
    assert found.values["kind"] == "LlamaTokenizer"
    assert found.values["ours"] != found.values["theirs"]
    monkeypatch.setattr(subprocess, "run", lambda *given, **named: pytest.fail("compared again"))
    assert ids(checked(model_name_or_path=model)) == ["render.tokenizer-differs"]


@pytest.mark.plants("render.tokenizer-not-compared")
def test_a_tokenizer_that_transformers_cannot_load_is_noted(checked, tiny_model: Path, tmp_path: Path) -> None:
    automap = {"AutoTokenizer": ["somewhere.Own", None]}
    changes = {"tokenizer_class": "Own", "auto_map": automap}
    model = copy_of(tiny_model, tmp_path / "model", "tokenizer_config.json", **changes)
    (found,) = checked(model_name_or_path=model).findings
    assert (found.id, found.severity) == ("render.tokenizer-not-compared", "note")
    assert found.values["reason"]


@pytest.mark.plants("render.plain-form")
def test_a_model_without_a_template_says_which_form_its_rows_get(checked, tiny_model: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_model, tmp_path / "model", "tokenizer_config.json")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    assert "render.plain-form" in ids(checked(model_name_or_path=model))


@pytest.mark.plants("data.several-from-one")
def test_a_template_that_rewrites_history_makes_a_row_of_every_answer(
    checked, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(copy_of(tiny_model, tmp_path / "model"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    ends = "+ '<|im_end|>\\n' -}}{%- endfor"
    assert ends in template
    changed = template.replace(
        ends, "+ (' <|im_end|>\\n' if loop.last and message['role'] == 'assistant' else '<|im_end|>\\n') -}}{%- endfor"
    )
    (folder / "chat_template.jinja").write_text(changed, encoding="utf-8")
    turns = [{"role": role, "content": f"{role} {at}"} for at in range(3) for role in ("user", "assistant")]
    talks = [{"messages": [{**turns[0], "content": f"user {at}"}, turns[1]]} for at in range(60)]
    report = checked([*talks, {"messages": turns}], model_name_or_path=str(folder))
    assert report.summary["train_rows"] == 63
    (found,) = [one for one in report.findings if one.id == "data.several-from-one"]
    assert (found.values["rows"], found.values["count"]) == (3, 1)


@pytest.mark.plants("model.beyond-window")
def test_rows_beyond_the_window_are_counted(checked, tiny_model: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_model, tmp_path / "model", max_position_embeddings=64)
    report = checked([*good_rows(), LONG], model_name_or_path=model)
    (found,) = (one for one in report.findings if one.id == "model.beyond-window")
    assert (found.severity, found.values["count"], found.values["window"]) == ("warning", 1, 64)


@pytest.mark.plants("model.token-unknown")
def test_a_tokenizer_with_more_tokens_than_the_model_is_an_error(checked, tiny_model: Path, tmp_path: Path) -> None:
    report = checked(model_name_or_path=copy_of(tiny_model, tmp_path / "model", vocab_size=100))
    assert ids(report, "error") == ["model.token-unknown"]
    assert report.exit_code == 2


@pytest.mark.plants("model.disk-short")
def test_checkpoints_that_do_not_fit_on_the_disk_are_told(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_audit, "free_bytes", lambda path: 100_000)
    (found,) = checked(save_steps=10).findings
    assert found.id == "model.disk-short"
    assert found.values["kept"] == 12
    assert "model.disk-short" in ids(checked(save_steps=10, save_total_limit=2))


@pytest.mark.plants("model.rope-fits")
def test_a_window_is_not_made_longer_for_rows_that_fit(checked) -> None:
    report = checked(rope_scaling="yarn", cutoff_len=64)
    assert ids(report, "error") == ["model.rope-fits"]
    assert ids(checked(rope_scaling="yarn", cutoff_len=5000), "error") == []


def test_the_window_that_an_adapter_was_trained_with_counts_when_it_is_trained_further(
    checked, tiny_model: Path, tmp_path: Path
) -> None:
    given = {
        "model_name_or_path": copy_of(tiny_model, tmp_path / "short", max_position_embeddings=256),
        "cutoff_len": 1024,
    }
    rows = [*good_rows(), LONG]
    first = settings(tiny_model, tmp_path, rows) | given
    first |= {"rope_scaling": "linear", "max_steps": 2, "report_to": "none", "output_dir": str(tmp_path / "one")}
    recipes.train(from_mapping(first, "test"), say=lambda line: None)
    assert ids(checked(rows, **given)) == ["model.beyond-window"]
    assert ids(checked(rows, **given, adapter_name_or_path=str(tmp_path / "one"))) == []


WRONG_LAYERS: dict[str, dict[str, Any]] = {
    "model.no-such-target": {"lora_target": "q_prj"},
    "model.all-among-others": {"lora_target": "all,q_proj"},
    "model.pattern-means-nothing": {"lora_target": "(q|v)_proj"},
    "model.pattern-means-head": {"lora_target": ".*"},
    "model.broken-pattern": {"lora_target": ".*(q_proj"},
    "model.pattern-among-others": {"lora_target": ["q_proj", ".*v_proj"]},
    "model.no-such-module": {"additional_target": "lm_heat"},
    "model.adapted-and-whole": {"additional_target": "mlp"},
    "model.no-bias-to-learn": {"lora_bias": "lora_only"},
    "model.freeze-layers": {"finetuning_type": "freeze", "freeze_trainable_layers": 3, "learning_rate": 1e-5},
    "model.pro-blocks": {
        "finetuning_type": "freeze",
        "use_llama_pro": True,
        "llama_pro_blocks": 3,
        "learning_rate": 1e-5,
    },
    "model.oft-block-size": {"finetuning_type": "oft", "oft_block_size": 12},
    "model.no-such-part": {"finetuning_type": "freeze", "freeze_trainable_modules": "mpl", "learning_rate": 1e-5},
}


@pytest.mark.parametrize("id", [pytest.param(id, marks=pytest.mark.plants(id)) for id in WRONG_LAYERS])
def test_layers_that_the_model_does_not_have_are_found_without_its_weights(
    checked, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "load", lambda *given, **named: pytest.fail("weights were loaded"))
    report = checked(**WRONG_LAYERS[id])
    assert ids(report) == [id]
    assert report.exit_code == 2


@pytest.mark.plants("model.lora-on-tied-head")
def test_a_head_that_shares_its_weights_takes_no_lora_and_one_of_its_own_does(
    checked, tiny_model: Path, tmp_path: Path
) -> None:
    tied = copy_of(tiny_model, tmp_path / "model", tie_word_embeddings=True)
    assert ids(checked(lora_target="lm_head", model_name_or_path=tied)) == ["model.lora-on-tied-head"]
    assert ids(checked(lora_target="lm_head")) == []


@pytest.mark.parametrize("changes", [
    {"lora_target": "q_proj,down_proj"}, {"lora_target": "self_attn.q_proj"}, {"lora_target": "layers.1.mlp.up_proj"},
    {"finetuning_type": "full"}, {"finetuning_type": "freeze", "freeze_trainable_layers": -2},
    {"finetuning_type": "freeze", "freeze_trainable_modules": "mlp.up_proj,q_proj", "freeze_extra_modules": "norm"},
])  # fmt: skip
def test_layers_that_the_model_has_are_known_by_the_names_in_its_files(
    checked, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "skeleton", lambda *given, **named: pytest.fail("a model was built"))
    assert ids(checked(**changes), "error") == []


def test_a_model_that_cannot_be_built_without_weights_is_asked_later(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, **named: Any) -> None:
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    monkeypatch.setattr(load, "skeleton", refuse)
    assert ids(checked(lora_target="q_prj")) == []


@pytest.mark.plants("model.adapter-keeps-its-own", "model.adapter-other-method")
def test_an_adapter_that_is_trained_further_has_its_own_settings(checked, tiny_model: Path, tmp_path: Path) -> None:
    given = settings(tiny_model, tmp_path) | {"max_steps": 2, "report_to": "none", "output_dir": str(tmp_path / "one")}
    recipes.train(from_mapping(given, "test"), say=lambda line: None)
    more = {"adapter_name_or_path": str(tmp_path / "one"), "report_to": "none"}
    assert ids(checked(**more, lora_rank=8, lora_target="all")) == []
    (found,) = checked(**more, lora_rank=2).findings
    assert found.values["keys"] == "`lora_rank: 2` (8)"
    told: list[str] = []
    recipes.train(
        from_mapping(settings(tiny_model, tmp_path) | more | {"max_steps": 2, "lora_rank": 2}, "test"), say=told.append
    )
    assert any("`lora_rank: 2` (8)" in line for line in told)
    report = checked(**more, finetuning_type="oft")
    assert ids(report, "error") == ["model.adapter-other-method"]
    assert report.exit_code == 2


@pytest.mark.plants("model.quantised-names-nothing")
def test_layers_left_alone_that_a_quantised_checkpoint_does_not_have_are_noted(
    checked, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"quant_method": "gptq", "bits": 4, "group_size": 32, "ignore_layers": ["lm_head", "wg"]}
    folder, layer = copy_of(tiny_model, tmp_path / "packed", quantization_config=said), "model.layers.0.mlp.down_proj"
    file = Path(folder) / "model.safetensors"
    held = load_file(file)
    outputs, inputs = held.pop(f"{layer}.weight").shape
    held[f"{layer}.qweight"] = np.zeros((inputs // 8, outputs), np.int32)
    held[f"{layer}.scales"] = np.ones((inputs // 32, outputs), np.float16)
    save_file(held, file)
    monkeypatch.setattr(loading, "_missing", lambda names: "")
    (found,) = checked(model_name_or_path=folder).findings
    assert (found.id, found.severity) == ("model.quantised-names-nothing", "note")
    assert found.values["found"] == "wg"


@pytest.mark.plants("storage.failed")
def test_a_place_that_cannot_hold_the_result_is_found_before_a_row_is_read(checked, tmp_path: Path) -> None:
    report = checked(output_dir=str(tmp_path / "rows.jsonl" / "out"))
    assert ids(report) == ["storage.failed"]
    assert report.findings[0].where == str(tmp_path / "rows.jsonl")
    assert report.exit_code == 4


@pytest.mark.plants("storage.refused")
def test_a_folder_that_is_closed_to_us_is_found(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the superuser, who runs tests, is never refused
    assert ids(checked()) == ["storage.refused"]


@pytest.mark.plants("machine.missing-library", "machine.old-library")
def test_libraries_that_are_missing_or_too_old_are_found(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"peft": None, "transformers": "4.30.2"}
    environment = importlib.import_module("llama_factory.machine.environment")
    monkeypatch.setattr(environment, "installed", lambda name: have.get(name, "99.0"))
    report = checked()
    assert ids(report) == ["machine.old-library", "machine.missing-library"]
    assert report.exit_code == 4


def test_a_row_that_ends_the_check_is_its_last_finding(checked) -> None:
    report = checked([*good_rows(), {"prompt": "Why?", "response": ""}])
    assert report.exit_code == 3
    assert report.findings[-1].severity == "error"
    assert report.findings[-1].where.endswith("rows.jsonl:241")


def test_missing_keys_and_missing_weights_are_the_configuration_s(checked, tiny_model: Path, tmp_path: Path) -> None:
    report = checked(dataset=None, model_name_or_path=None)
    assert ids(report) == ["config.missing", "config.missing"]
    assert report.exit_code == 2
    model = copy_of(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    assert checked(model_name_or_path=model).exit_code == 2


def test_config_only_reads_no_data_and_no_model(checked) -> None:
    report = checked(config_only=True, model_name_or_path="nowhere/at/all", dataset="nothing.jsonl", learning_rate=1e-6)
    assert ids(report) == ["config.rate-low"]
    assert report.summary == {}
    assert report.exit_code == 0


def test_three_rows_are_shown_with_exactly_what_is_trained_of_them(checked) -> None:
    samples = checked().samples
    assert 1 <= len(samples) <= 3
    assert samples[0].origin.endswith("rows.jsonl:1")
    trained = [one.text for one in samples[0].pieces if one.weight]
    assert trained == ["It is 0, of course.<|im_end|>"]
    assert "".join(one.text for one in samples[0].pieces).startswith("<|im_start|>system")


@pytest.mark.parametrize("max_steps", [-1, 7])
@pytest.mark.parametrize("epochs", [1, 2.5, 3])
def test_the_steps_that_are_told_are_the_steps_that_will_be_made(max_steps: int, epochs: float) -> None:
    run = from_mapping({"max_steps": max_steps, "num_train_epochs": epochs}, "test")
    plan = FitPlan(max_steps=max_steps, num_train_epochs=epochs)
    for per_epoch in (1, 3, 10):
        assert total_steps(run, per_epoch) == plan.total_steps(per_epoch)


@pytest.mark.parametrize("target", ["all", "q_proj,v_proj"])
def test_the_weights_that_are_counted_are_the_ones_that_lora_trains(tiny_model: Path, target: str) -> None:
    from llama_factory.model import adapters

    run = from_mapping({"lora_rank": 4, "lora_target": target}, "test")
    module = load.load(tiny_model, dtype="float32")
    attached = adapters.attach(module, run.method, Start("float32", 0))
    entries = list(weights.entries(tiny_model).values())
    assert model_audit.trained_count(run, entries, model_audit.shape(tiny_model)) == attached.trainable_count > 0


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_size_of_a_checkpoint_is_told_before_it_is_written(
    checked, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    given = settings(tiny_model, tmp_path, good_rows(12)) | {
        "finetuning_type": method, "max_steps": 1, "save_steps": 1, "bf16": False, "report_to": "none"
    }  # fmt: skip
    told = checked(good_rows(12), finetuning_type=method, max_steps=1, save_steps=1).summary["checkpoint_bytes"]
    recipes.train(from_mapping(given, "test"), say=lambda line: None)
    written = sum(
        file.stat().st_size
        for file in (tmp_path / "out" / "checkpoint-1").rglob("*.safetensors")
        if "rng" not in file.name
    )
    assert told == pytest.approx(written, rel=0.2)


def test_train_refuses_what_would_teach_nothing_before_it_loads_weights(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    given = settings(tiny_model, tmp_path)
    with pytest.raises(InputError) as caught:
        recipes.train(from_mapping(given | {"max_steps": 1, "warmup_ratio": 0.5}, "test"), say=lambda line: None)
    assert caught.value.id == "config.rate-stays-zero"
    endless = settings(tiny_model, tmp_path, [LONG] * 3) | {"cutoff_len": 128, "on_too_long": "truncate"}
    with pytest.raises(DataError) as caught_too:
        recipes.train(from_mapping(endless, "test"), say=lambda line: None)
    assert caught_too.value.id == "render.stop-never-trained"
    assert not (tmp_path / "out").exists()


def test_train_tells_the_warnings_first(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    given = settings(tiny_model, tmp_path, good_rows(8)) | {"max_steps": 1, "report_to": "none"}
    recipes.train(from_mapping(given, "test"), say=said.append)
    assert any("only 1 optimiser steps" in line for line in said)


def words_of(model: Path, folder: Path, **changes: Any) -> list[str]:
    return [f"{key}={value}" for key, value in (settings(model, folder) | changes).items()]


def test_json_is_one_object_with_findings_reasons_and_cures(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    assert main(["check", *words_of(tiny_model, tmp_path, learning_rate=1e-6), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = told["findings"]
    assert set(found) == {"id", "severity", "where", "values", "reason", "cure"}
    assert found["cure"]
    assert told["summary"]["data_sets"][0]["read"] == 240
    assert any(piece["trained"] for piece in told["samples"][0]["pieces"])
    assert main(["check", "--json", "max_step=1"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_a_file_gets_brackets_around_what_is_trained_and_a_last_line_that_counts(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    assert main(["check", *words_of(tiny_model, tmp_path, save_steps=500)]) == 0
    shown = capsys.readouterr().out
    assert "[[It is 0, of course.<|im_end|>]]" in shown
    assert "\x1b" not in shown
    assert "[config.save-after-end]" in shown
    assert shown.splitlines()[-1] == "0 errors, 0 warnings, 1 notes."


def test_a_terminal_gets_colours(tiny_model: Path, tmp_path: Path) -> None:
    import io

    from llama_factory.apps import checking
    from llama_factory.apps.screen import Screen

    out = io.StringIO()
    screen = Screen(out, io.StringIO(), "zh", 80, colour_out=True)
    cache = {"LLAMA_FACTORY_CACHE": str(tmp_path / "cache")}
    assert checking.check(words_of(tiny_model, tmp_path), screen, cache) == 0
    assert "\x1b[32mIt is 0, of course.<|im_end|>\x1b[0m" in out.getvalue()
    assert "[[" not in out.getvalue()


def test_a_check_loads_no_torch(tiny_model: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom llama_factory.apps.cli import main\n"
        f"assert main({['check', *words_of(tiny_model, tmp_path)]!r}) == 0\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy'"
    )
    import os

    environ = {**os.environ, "LLAMA_FACTORY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
