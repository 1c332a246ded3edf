"""What keys may not say, alone or together."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from llama_factory.config import Run, from_mapping, require
from llama_factory.config.sections.data import Data
from llama_factory.config.sections.method import Method
from llama_factory.config.sections.training import Training
from llama_factory.errors import InputError, SeveralErrors


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("cutoff_len", -1, "int >= 1, <= 2147483647"),
        ("cutoff_len", 0, "int >= 1, <= 2147483647"),
        ("cutoff_len", 2**31, "int >= 1, <= 2147483647"),
        ("cutoff_len", True, "int >= 1, <= 2147483647"),
        ("cutoff_len", 10.5, "int >= 1, <= 2147483647"),
        ("max_samples", -5, "int >= 1"),
        ("max_samples", 0, "int >= 1"),
        ("max_steps", 0, "-1 | int >= 1"),
        ("max_steps", -2, "-1 | int >= 1"),
        ("learning_rate", math.nan, "float > 0, < 1"),
        ("learning_rate", math.inf, "float > 0, < 1"),
        ("learning_rate", "nan", "float > 0, < 1"),
        ("learning_rate", 0, "float > 0, < 1"),
        ("learning_rate", -1e-5, "float > 0, < 1"),
        ("learning_rate", "1e5", "float > 0, < 1"),
        ("learning_rate", None, "float > 0, < 1"),
        ("val_size", -0.1, "float >= 0, < 1 | int >= 1"),
        ("val_size", 1.5, "float >= 0, < 1 | int >= 1"),
        ("lora_dropout", 1, "float >= 0, < 1"),
        ("lora_rank", 0, "int >= 1"),
        ("warmup_ratio", 1.5, "float >= 0, <= 1"),
        ("warmup_steps", -1, "int >= 0"),
        ("num_train_epochs", 0, "float > 0"),
        ("per_device_train_batch_size", 0, "int >= 1"),
        ("gradient_accumulation_steps", 0, "int >= 1"),
        ("save_total_limit", 0, "int >= 1"),
        ("logging_steps", 0.1, "int >= 1"),
        ("save_steps", 0.5, "int >= 1"),
        ("seed", 2**32, "int >= 0, <= 4294967295"),
        ("top_p", 0, "float > 0, <= 1"),
        ("export_size", 0, "float > 0"),
        ("adam_beta2", 1, "float >= 0, < 1"),
        ("bf16", "perhaps", "true | false"),
        ("stage", "sfd", "sft | pt"),
        ("dataset", {"a": 1}, "path, ..."),
        ("dataset", [["a"]], "path, ..."),
        ("dataset", True, "path, ..."),
        ("output_dir", ["a"], "path"),
        ("output_dir", "a\0b", "path"),
        ("report_to", "none,tensorboard", "none | tensorboard, ..."),
        ("export_device", "gpu", "cpu | auto"),
    ],
)
def test_a_value_outside_its_type_is_refused_with_what_was_expected(key, value, expected):
    with pytest.raises(InputError) as caught:
        from_mapping({key: value}, "here")
    assert caught.value.id in ("config.wrong-value", "config.wrong-value-near")
    assert (caught.value.values["key"], caught.value.values["expected"]) == (key, f"`{expected}`")


def test_the_nearest_word_is_named():
    with pytest.raises(InputError) as caught:
        from_mapping({"finetuning_type": "Lorra"}, "here")
    assert (caught.value.id, caught.value.values["nearest"]) == ("config.wrong-value-near", "lora")


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("bf16: true\nfp16: true", "config.two-precisions"),
        ("pure_bf16: true\nfp16: true", "config.two-precisions"),
        ("pure_bf16: true\nbf16: false", "config.two-precisions"),
        ("val_size: 0.1\neval_dataset: a", "config.two-validations"),
        ("seed: 1\neval_strategy: steps", "config.no-validation-data"),
        ("seed: 1\neval_strategy: epoch", "config.no-validation-data"),
        ("seed: 1\ndo_eval: true", "config.no-validation-data"),
        ("warmup_ratio: 0.1\nwarmup_steps: 5", "config.two-warmups"),
        ("do_sample: true\ntemperature: 0", "config.temperature-zero"),
        ("adapter_name_or_path: a\nfinetuning_type: full", "config.adapter-without-lora"),
        ("finetuning_type: freeze\nfreeze_trainable_layers: 0", "config.nothing-learns"),
        ("model_name_or_path: a/b\noutput_dir: ./a/b/", "config.same-folder"),
        ("model_name_or_path: a/b\nexport_dir: a/b", "config.same-folder"),
        ("adapter_name_or_path: a/b\nexport_dir: a/b", "config.same-folder"),
        ("seed: 1\nexport_legacy_format: true", "config.no-pickle"),
    ],
)
def test_a_contradiction_is_refused_with_its_lines(refused, text, id):
    (problem,) = refused(text)
    lines = [line for line, one in enumerate(text.split("\n"), 1) if not one.startswith("seed")]
    assert problem.id == id
    assert sorted(problem.where.split(", ")) == [f"run.yaml:{line}" for line in lines]


@pytest.mark.parametrize(
    "text",
    [
        "bf16: true\nfp16: false",
        "bf16: false\nfp16: true",
        "pure_bf16: true\nbf16: true",
        "val_size: 0\neval_dataset: a\neval_strategy: steps",
        "val_size: 0.1\neval_strategy: steps\neval_steps: 5",
        "val_size: 1\neval_strategy: epoch\ndo_eval: true",
        "warmup_ratio: 0.0\nwarmup_steps: 5",
        "temperature: 0",
        "do_sample: false\ntemperature: 0",
        "finetuning_type: freeze\nfreeze_trainable_layers: -2",
        "finetuning_type: freeze\nfreeze_trainable_layers: 0\nfreeze_extra_modules: norm",
        "num_train_epochs: 3\nmax_steps: -1",
        "finetuning_type: full\nlora_rank: 8\nlora_target: all",
    ],
)
def test_what_does_not_contradict_is_accepted_in_silence(given, text):
    assert not given(text).notices


@pytest.mark.parametrize(
    ("text", "key", "other"),
    [
        ("finetuning_type: full\nlora_rank: 16", "lora_rank", "finetuning_type: full"),
        ("finetuning_type: lora\nfreeze_trainable_layers: 4", "freeze_trainable_layers", "finetuning_type: lora"),
        (
            "finetuning_type: freeze\nfreeze_trainable_layers: 0\nfreeze_extra_modules: norm\n"
            "freeze_trainable_modules: mlp",
            "freeze_trainable_modules",
            "freeze_trainable_layers: 0",
        ),
        ("seed: 1\neval_steps: 100", "eval_steps", "eval_strategy: no"),
        ("save_strategy: epoch\nsave_steps: 100", "save_steps", "save_strategy: epoch"),
        ("max_steps: 5000\nnum_train_epochs: 5", "num_train_epochs", "max_steps: 5000"),
        ("lr_scheduler_type: constant\nwarmup_ratio: 0.1", "warmup_ratio", "lr_scheduler_type: constant"),
        ("max_new_tokens: 5\nmax_length: 10", "max_length", "max_new_tokens: 5"),
    ],
)
def test_a_key_that_another_switches_off_is_noticed(given, text, key, other):
    (notice,) = given(text).notices
    assert (notice.id, notice.severity, notice.values) == ("config.unused-key", "note", {"key": key, "other": other})


def test_validation_that_would_mislead_is_warned_about(given):
    (notice,) = given("val_size: 0.1").notices
    assert (notice.id, notice.severity, notice.values) == ("config.never-measured", "warning", {"key": "val_size"})
    (notice,) = given("dataset: a,b\neval_dataset: b\neval_strategy: steps").notices
    assert (notice.id, notice.severity, notice.values) == ("config.validated-on-training", "warning", {"found": "b"})


def test_asking_for_validation_without_saying_when_means_after_every_epoch(given, refused):
    assert given("do_eval: true\nval_size: 5").evaluation.eval_strategy == "epoch"
    assert given("do_eval: yes\nval_size: 5\neval_strategy: steps").evaluation.eval_strategy == "steps"
    assert given("do_eval: false").evaluation.eval_strategy == "no"
    (problem,) = refused("val_size: 5\ndo_eval: true\neval_strategy: no")
    assert (problem.id, problem.where) == ("config.two-evaluations", "run.yaml:2, run.yaml:3")
    (problem,) = refused("do_eval: perhaps\nval_size: 5")
    assert problem.id == "config.wrong-value"


def test_a_length_for_prompt_and_answer_stands_alone(given):
    assert given("max_length: 100").generation.max_new_tokens is None
    assert given("").generation.max_new_tokens == 1024
    assert given("max_length: 100\nmax_new_tokens: 7").generation.max_new_tokens == 7


def test_all_problems_of_a_file_come_at_once_in_its_order(refused):
    text = (
        "stage: dpo\n"  # 1
        "lerning_rate: 1e-5\n"
        "cutoff_len: -1\n"  # 3
        "bf16: true\n"
        "fp16: true\n"  # 5
        "fp8: true\n"
        "val_size: 2.5\n"  # 7
        "eval_dataset: a\n"
        "lora_r: 8\n"  # 9
        "lora_rank: 8\n"
        "seed: 1\n"  # 11
        "seed: 2\n"
        "save_safetensors: false\n"  # 13
        "warmup_ratio: 0.1\n"
        "warmup_steps: 3\n"  # 15
    )
    problems = refused(text)
    assert [(one.id, one.where.split(", ")[0]) for one in problems] == [
        ("config.planned-value", "run.yaml:1"),
        ("config.unknown-key-near", "run.yaml:2"),
        ("config.wrong-value", "run.yaml:3"),
        ("config.two-precisions", "run.yaml:4"),
        ("config.planned-fp8", "run.yaml:6"),
        ("config.wrong-value", "run.yaml:7"),
        ("config.two-spellings", "run.yaml:10"),
        ("config.duplicate-key", "run.yaml:12"),
        ("config.no-pickle", "run.yaml:13"),
        ("config.two-warmups", "run.yaml:14"),
    ]


def test_a_run_is_frozen_and_knows_no_other_key():
    run = Run()
    for section, key in ((run, "model"), (run.data, "dataset"), (run.method.lora, "lora_rank")):
        with pytest.raises(ValidationError):
            setattr(section, key, None)
    with pytest.raises(ValidationError):
        Data(datasets=("a",))
    with pytest.raises(ValidationError):
        Run(sft=True)


def test_a_run_built_in_python_obeys_the_same_rules():
    with pytest.raises(InputError) as caught:
        Run(training=Training(bf16=True, fp16=True))
    assert caught.value.id == "config.two-precisions"
    with pytest.raises(SeveralErrors) as several:
        Run(training=Training(bf16=True, fp16=True), data=Data(val_size=2, eval_dataset="a,b"))
    assert len(several.value.errors) == 2
    run = Run(method=Method(finetuning_type="full"), data=Data(dataset="a, b"))
    assert (run.stage, run.data.dataset, run.given) == ("sft", ("a", "b"), {"finetuning_type", "dataset"})
    assert (run.where("dataset"), run.source, run.notices) == ("", "", ())


def test_each_command_says_which_line_is_missing(given, tmp_path):
    needed = {
        "train": ["model_name_or_path", "dataset", "output_dir"],
        "chat": ["model_name_or_path"],
        "export": ["model_name_or_path", "export_dir"],
    }
    for command, keys in needed.items():
        with pytest.raises((InputError, SeveralErrors)) as caught:
            require(given("seed: 1"), command)
        errors = getattr(caught.value, "errors", [caught.value])
        assert [one.values["key"] for one in errors] == keys
        for one in errors:
            assert one.where == f"{tmp_path}/run.yaml"
            assert f"`{one.values['key']}: {one.values['example']}`" in one.letter()
    whole = given("model_name_or_path: m\ndataset: d\noutput_dir: o\nexport_dir: e\nmax_new_tokens: 5\n")
    for command in needed:
        require(whole, command)
    with pytest.raises(InputError) as caught:
        require(given("model_name_or_path: m\ndataset: d\noutput_dir: o\ndo_train: false"), "train")
    assert (caught.value.id, caught.value.where) == ("config.nothing-to-do", f"{tmp_path}/run.yaml:4")


BEST = "val_size: 2\n"


@pytest.mark.parametrize(
    ("text", "strategy", "keeps"),
    [
        ("early_stopping: true\n", "epoch", True),
        ("early_stopping: true\neval_steps: 5\n", "steps", True),
        ("early_stopping: true\neval_strategy: steps\n", "steps", True),
        ("early_stopping: true\nload_best_model_at_end: false\n", "epoch", False),
        ("early_stopping_steps: 4\n", "epoch", True),
        ("load_best_model_at_end: true\n", "epoch", True),
        ("eval_strategy: epoch\n", "epoch", False),
    ],
)
def test_looking_for_the_best_model_asks_for_measurements(given, text, strategy, keeps):
    run = given(BEST + text)
    assert (run.evaluation.eval_strategy, run.evaluation.best.keeps_best) == (strategy, keeps)
    if "early_stopping_steps" in text:
        assert (run.evaluation.best.early_stopping, run.evaluation.best.early_stopping_patience) == (True, 4)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("early_stopping: true\n", "config.no-validation-data"),
        ("load_best_model_at_end: true\n", "config.no-validation-data"),
        (BEST + "early_stopping: true\neval_strategy: no\n", "config.best-never-measured"),
        (BEST + "early_stopping: true\ngreater_is_better: true\n", "config.best-is-worst"),
        (BEST + "early_stopping: true\nearly_stopping_patience: 0\n", "config.wrong-value"),
        (BEST + "early_stopping: true\nmetric_for_best_model: accuracy\n", "config.planned-value"),
    ],
)
def test_a_best_model_that_cannot_be_found_is_refused(refused, text, id):
    assert [problem.id for problem in refused(text)] == [id]


def test_patience_without_early_stopping_is_worth_a_line(given):
    (notice,) = given("early_stopping_patience: 5\n").notices
    assert (notice.id, notice.values["key"]) == ("config.unused-key", "early_stopping_patience")


@pytest.mark.parametrize(
    ("text", "id", "where"),
    [
        ("quantization_bit: 4\nfinetuning_type: full", "config.quantised-learns", ("run.yaml:1", "run.yaml:2")),
        ("finetuning_type: freeze\nload_in_8bit: true", "config.quantised-learns", ("run.yaml:2", "run.yaml:1")),
        ("quantization_bit: 3\nquantization_method: bnb", "config.quantised-bits", ("run.yaml:1", "run.yaml:2")),
        ("quantization_bit: 5", "config.wrong-value", ("run.yaml:1",)),
        ("quantization_method: gptq", "config.quantised-with-texts", ("run.yaml:1",)),
        ("quantization_method: EETQ", "config.quantised-not-here", ("run.yaml:1",)),
        ("load_in_4bit: true\nload_in_8bit: true", "config.two-spellings", ("run.yaml:2",)),
    ],
)
def test_what_quantised_weights_cannot_do_is_refused_with_what_can(refused, text, id, where):
    (problem,) = refused(text)
    assert (problem.id, problem.where) == (id, ", ".join(where))
    assert "hqq" in problem.letter() or id not in ("config.quantised-bits", "config.quantised-not-here")


def test_keys_of_quantisation_that_another_switches_off_are_said(given):
    found = {
        "quantization_type: fp4": ["quantization_type"],
        "quantization_method: hqq": ["quantization_method"],
        "quantization_bit: 8\nquantization_type: fp4": ["quantization_type"],
        "quantization_bit: 4\nquantization_method: hqq\ndouble_quantization: false": ["double_quantization"],
        "quantization_bit: 4\nquantization_type: fp4\ndouble_quantization: false": [],
        "quantization_bit: 4\nquantization_device_map: auto": ["quantization_device_map"],
    }
    for text, keys in found.items():
        assert [one.values["key"] for one in given(text).notices] == keys, text


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("oft_rank: 8\noft_block_size: 64", ["oft_rank", "oft_block_size"]),
        ("oft_block_size: 0", ["oft_block_size"]),
        ("finetuning_type: full\nuse_dora: true\nnum_virtual_tokens: 5", ["use_dora", "num_virtual_tokens"]),
        ("finetuning_type: p_tuning\nprefix_projection: true\nlora_rank: 4", ["lora_rank", "prefix_projection"]),
        ("finetuning_type: oft\ncreate_new_adapter: true", ["create_new_adapter"]),
        ("eaft_alpha: 2\nasft_alpha: 1", ["eaft_alpha", "asft_alpha"]),
        (
            "finetuning_type: freeze\nuse_llama_pro: true\nllama_pro_blocks: 4\nfreeze_trainable_layers: 0",
            ["freeze_trainable_layers"],
        ),
    ],
)
def test_keys_of_a_method_or_loss_that_is_not_chosen_are_said_and_refuse_nothing(given, text, keys):
    assert [one.values["key"] for one in given(text).notices if one.id == "config.unused-key"] == keys


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("finetuning_type: oft\noft_rank: 8\noft_block_size: 64", "config.two-block-sizes"),
        ("finetuning_type: oft\noft_block_size: 0", "config.no-block-size"),
        ("finetuning_type: full\ncache_frozen_layers: true", "config.nothing-to-keep"),
        ("finetuning_type: prefix_tuning\ncache_frozen_layers: true", "config.nothing-to-keep"),
        ("finetuning_type: freeze\ncache_frozen_layers: true\nneftune_noise_alpha: 5", "config.nothing-to-keep"),
        ("finetuning_type: oft\nadapter_name_or_path: a\ncreate_new_adapter: true", "config.new-adapter-must-add"),
        ("use_dft_loss: true\nlabel_smoothing_factor: 0.1", "config.two-losses"),
    ],
)
def test_what_a_method_or_a_loss_cannot_do_is_refused(refused, text, id):
    (problem,) = refused(text)
    assert problem.id == id
    assert problem.where.startswith("run.yaml:")
