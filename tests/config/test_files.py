"""YAML and JSON files: what is read, and where a broken one is broken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from llama_factory.config import load
from llama_factory.errors import InputError

TUTORIAL = """\
model_name_or_path: /username/model/Qwen2-7B  # 声明模型地址

stage: sft  # 声明训练阶段是有监督微调
do_train: true
finetuning_type: lora
lora_target: all

dataset: align_anything
template: qwen
cutoff_len: 1024
max_samples: 103505
output_dir: saves/qwen2-7b/lora/sft
learning_rate: 1.0e-4
bf16: true
"""


def test_a_file_becomes_a_run_that_remembers_its_lines(given, tmp_path):
    run = given(TUTORIAL)
    assert run.model.model_name_or_path == "/username/model/Qwen2-7B"
    assert run.data.dataset == ("align_anything",)
    assert run.training.optimizer.learning_rate == 1e-4
    assert run.where("learning_rate") == f"{tmp_path}/run.yaml:13"
    assert run.where("seed") == run.source == f"{tmp_path}/run.yaml"
    assert run.given == {line.split(":")[0] for line in TUTORIAL.split("\n") if line}


def test_a_number_may_be_written_in_any_usual_way(given):
    for text, value in (
        ("1e-5", 1e-5),
        ("1.0e-5", 1e-5),
        ("5E-5", 5e-5),
        ("'3e-6'", 3e-6),
        (".1", 0.1),
        ("0.00001", 1e-5),
    ):
        assert given(f"learning_rate: {text}").training.optimizer.learning_rate == value
    assert given("max_samples: 1e3").data.max_samples == 1000
    assert given("max_samples: 1_000").data.max_samples == 1000
    assert given("num_train_epochs: 3").training.num_train_epochs == 3.0


def test_the_words_that_yaml_takes_for_booleans_stay_words_where_words_are_wanted(given):
    run = given("eval_strategy: no\nsave_strategy: no\nmodel_revision: 4e5\ndefault_system: yes\ntemplate: 1.10\n")
    assert (run.evaluation.eval_strategy, run.saving.save_strategy) == ("no", "no")
    assert (run.model.model_revision, run.data.default_system, run.data.template) == ("4e5", "yes", "1.10")


def test_an_empty_value_is_nothing_given(given):
    run = given("resume_from_checkpoint:\nmax_samples: null\ntemplate: ~\nlora_alpha: None\neval_dataset:\n")
    assert run.training.resume_from_checkpoint is None
    assert run.data.max_samples is run.data.template is run.method.lora.lora_alpha is None
    assert run.data.eval_dataset == ()
    assert given('default_system: ""').data.default_system == ""
    assert given('default_system: "null"').data.default_system == "null"


def test_lists_are_yaml_lists_or_texts_with_commas(given):
    for text in ("a,b", "[a, b]", "\n- a\n- b", "'a, b'", "[a, b,]"):
        assert given(f"dataset: {text}").data.dataset == ("a", "b")
        assert given(f"lora_target: {text}").method.lora.lora_target == ("a", "b")
        assert given(f"freeze_extra_modules: {text}").method.freeze.freeze_extra_modules == ("a", "b")
        assert given(f"adapter_name_or_path: {text}").model.adapter_name_or_path == ("a", "b")
    assert given("report_to: none").logging.report_to == ("none",)
    assert given("report_to: [tensorboard]").logging.report_to == ("tensorboard",)


def test_a_home_folder_is_found_and_an_unfilled_placeholder_is_not_a_folder(given, refused, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert given("model_name_or_path: ~/model/qwen2").model.model_name_or_path == "/home/somebody/model/qwen2"
    (problem,) = refused("output_dir: ${oc.env:HOME}/out")
    assert problem.id == "config.wrong-value"


def test_an_empty_file_is_a_run_of_defaults(given):
    assert given("").resolved() == given("# nothing\n---\n").resolved()


@pytest.mark.parametrize(
    ("text", "id", "line"),
    [
        ("stage: sft\nbf16: [true\nseed: 1\n", "config.yaml-broken", 3),
        ("stage: sft\n\tseed: 1\n", "config.yaml-tab", 2),
        ("stage: sft\nseed:1\nbf16: true\n", "config.yaml-broken", 3),
        ('stage: "sft\nseed: 1\n', "config.yaml-broken", 3),
        ("stage: sft\nseed: 1\n---\nseed: 2\n", "config.yaml-broken", 3),
        ("stage: sft\nseed: *nowhere\n", "config.yaml-broken", 2),
        ("stage: sft\nseed: !!python/object/apply:os.system ['true']\n", "config.yaml-tag", 2),
        ("stage: sft\nseed: !env SEED\n", "config.yaml-tag", 2),
        ("stage: sft\n? [a, b]\n: 1\n", "config.not-a-key", 2),
        ("stage: sft\nseed: \x07\n", "config.yaml-broken", 2),
    ],
)
def test_broken_yaml_names_the_line(refused, text, id, line):
    (problem,) = refused(text)
    assert (problem.id, problem.where) == (id, f"run.yaml:{line}")


@pytest.mark.parametrize("text", ["- stage: sft\n- seed: 1\n", "stage sft", "7", "[]", "'stage: sft'"])
def test_a_list_or_a_single_value_is_not_a_configuration(refused, text):
    (problem,) = refused(text)
    assert problem.id == "config.not-mapping"


def test_a_key_that_stands_twice_is_refused_with_both_lines(refused):
    problems = refused("seed: 1\nbf16: true\nseed: 2\nbf16: true\n")
    assert [(one.id, one.where, one.values["first"].rpartition("/")[2]) for one in problems] == [
        ("config.duplicate-key", "run.yaml:3", "run.yaml:1"),
        ("config.duplicate-key", "run.yaml:4", "run.yaml:2"),
    ]


def test_yaml_that_grows_without_end_is_refused_at_once(refused):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 10):
        bomb += f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]\n"
    start = time.monotonic()
    (problem,) = refused(bomb)
    assert problem.id == "config.too-large"
    (problem,) = refused("dataset: &a [*a]\n")
    assert problem.id == "config.too-deep"
    (problem,) = refused("dataset: " + "[" * 5000)
    assert problem.id == "config.too-deep"
    (problem,) = refused("dataset: " + "[" * 40 + "]" * 40)
    assert problem.id == "config.too-deep"
    (problem,) = refused("# " + "x" * 300_000)
    assert problem.id == "config.too-large"
    assert time.monotonic() - start < 20


def test_an_anchor_may_be_used_again(given):
    assert given("dataset: &rows [a, b]\nfreeze_extra_modules: *rows\n").method.freeze.freeze_extra_modules == (
        "a",
        "b",
    )


def test_a_json_file_says_the_same_as_a_yaml_file(given, tmp_path):
    pairs = {"stage": "sft", "learning_rate": 1e-4, "bf16": True, "dataset": ["a", "b"], "template": None, "seed": 7}
    run = given(json.dumps(pairs, indent=2), name="run.json")
    assert run.resolved() == given("\n".join(f"{key}: {json.dumps(value)}" for key, value in pairs.items())).resolved()
    assert run.where("stage").endswith("run.json:2")
    assert run.where("dataset").endswith("run.json:5")
    assert run.where("seed").endswith("run.json:10")
    assert given(json.dumps(pairs), name="run.json").where("seed").endswith("run.json:1")
    nested = '{\n "training_arguments": {\n\n  "seed": 3}, "fp16": {"enabled": false,\n"loss_scale": 0}}'
    run = given(nested, name="run.json")
    assert (run.training.seed, run.training.fp16) == (3, False)
    assert run.where("seed").endswith("run.json:4")
    assert [one.where.rpartition("/")[2] for one in run.notices] == ["run.json:5"]


@pytest.mark.parametrize(
    ("text", "id", "line"),
    [
        ('{"stage": "sft",\n "seed": 1,\n}', "config.json-broken", 3),
        ('{"stage": "sft",\n "seed" 1}', "config.json-broken", 2),
        ("{'stage': 'sft'}", "config.json-broken", 1),
        ('{"stage": "sft",\n\n "seed": 1, "stage":\n "sft"}', "config.duplicate-key", 3),
        ('{"seed": 1}\n{"seed": 2}', "config.json-broken", 2),
        ('{\n"learning_rate": NaN}', "config.wrong-value", 2),
        ('{\n"seed": ' + "9" * 5000 + "}", "config.wrong-value", 2),
        ('{\n"output_dir": "\\ud800"}', "config.wrong-value", 2),
    ],
)
def test_broken_json_names_the_line(refused, text, id, line):
    (problem,) = refused(text, name="run.json")
    assert (problem.id, problem.where) == (id, f"run.json:{line}")


def test_json_that_is_nested_without_end_is_refused(refused):
    for text in ('{"dataset": ' + "[" * 100_000, '{"dataset": ' + "[" * 40 + "]" * 40 + "}"):
        (problem,) = refused(text, name="run.json")
        assert problem.id == "config.too-deep"


def test_a_missing_file_names_the_one_that_was_meant(tmp_path):
    (tmp_path / "qwen2_lora_sft.yaml").write_text("")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "qwen2_lora_stf.yaml")
    assert caught.value.id == "config.no-file-near"
    assert caught.value.values["nearest"] == str(tmp_path / "qwen2_lora_sft.yaml")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "nowhere" / "x.yaml")
    assert caught.value.id == "config.no-file"


def test_what_is_not_a_configuration_file_is_refused(tmp_path: Path):
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / "gbk.yaml").write_bytes("seed: 1\ndefault_system: 你好\n".encode("gbk"))
    (tmp_path / "utf16.yaml").write_text("seed: 1\n", encoding="utf-16")
    expected = {
        "folder.yaml": ("config.not-a-file", ""),
        "rows.jsonl": ("config.suffix", ""),
        "gbk.yaml": ("config.not-utf8", ":2"),
        "utf16.yaml": ("config.not-utf8", ":1"),
    }
    for name, (id, line) in expected.items():
        with pytest.raises(InputError) as caught:
            load(tmp_path / name)
        assert (caught.value.id, caught.value.where) == (id, f"{tmp_path / name}{line}")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path):
    (tmp_path / "run.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\r\nbf16: true\r\n")
    run = load(tmp_path / "run.yaml")
    assert (run.training.seed, run.training.bf16) == (1, True)
    assert run.where("bf16").endswith("run.yaml:2")


def test_a_path_that_no_disk_can_hold_gives_a_letter(tmp_path: Path):
    for name in ("a\0b.yaml", "x" * 300 + ".yaml"):
        with pytest.raises(InputError) as caught:
            load(tmp_path / name)
        assert caught.value.id in ("config.no-file", "config.unreadable")


def test_a_file_that_cannot_be_opened_gives_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError) as caught:
        load(path)
    assert (caught.value.id, caught.value.values["problem"]) == ("config.unreadable", "Permission denied")
