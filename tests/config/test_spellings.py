"""Other names for a key, groups, planned keys, keys without effect."""

from __future__ import annotations

import pytest

from llama_factory.config import Run, fields, from_mapping
from llama_factory.config.gather import known_names, section_names
from llama_factory.config.keys import leaves
from llama_factory.config.vocabulary import ALIASES, GROUPS, IDLE, PLANNED, TRANSLATED
from llama_factory.errors import LETTERS, InputError, LlamaFactoryError, letter

BUILT = leaves(Run)
PLANNED_KEYS = [(key, id, offs) for id, keys in PLANNED.items() for key, offs in keys.items()]
IDLE_KEYS = [(key, id) for id, keys in IDLE.items() for key in keys]


def sample(key: str) -> object:
    """A value of a key that is not its default, and that no rule refuses alone."""
    own = {
        "stage": "sft", "eval_strategy": "no", "do_eval": False, "export_legacy_format": False,
        "freeze_trainable_layers": 3, "finetuning_type": "full", "report_to": "none", "max_steps": 9,
        "optim": "lion_32bit", "lr_scheduler_type": "cosine",
    }  # fmt: skip
    if key in own:
        return own[key]
    text = BUILT[key].reader.text
    if text.startswith("true"):
        return True
    if text.startswith(("int", "-1")):
        return 3
    if text.startswith("float"):
        return 0.5
    return text.split(" | ")[-1].split(",")[0]


def test_no_name_means_two_things():
    tables = [
        set(BUILT),
        set(ALIASES),
        set(TRANSLATED),
        {one[0] for one in PLANNED_KEYS},
        {one[0] for one in IDLE_KEYS},
    ]
    assert sum(len(table) for table in tables) == len(set.union(*tables))
    assert len(PLANNED_KEYS) == len({one[0] for one in PLANNED_KEYS}) > 100
    assert len(IDLE_KEYS) == len({one[0] for one in IDLE_KEYS}) > 80
    assert set(ALIASES.values()) <= set(BUILT)
    assert not GROUPS & set.union(*tables)
    assert set(section_names()) & set.union(*tables) == {"model", "optimizer"}


@pytest.mark.parametrize(("alias", "key"), ALIASES.items())
def test_another_spelling_is_read_noticed_and_conflicts(given, refused, alias, key):
    value = sample(key)
    run = given(
        f"seed: 1\n{alias}: {str(value).lower() if isinstance(value, bool) else value}\n" if key != "seed" else ""
    )
    assert run.value(key) == from_mapping({key: value}, "").value(key)
    assert key in run.given
    (notice,) = [one for one in run.notices if one.id == "config.alias"]
    assert notice.values == {"found": alias, "key": key}
    assert notice.where.endswith("run.yaml:2")
    (problem,) = refused(f"{alias}: {value}\n{key}: {value}\n")
    assert (problem.id, problem.where) == ("config.two-spellings", "run.yaml:2")
    assert problem.values["other"].endswith("run.yaml:1")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("use_lora: true", "finetuning_type", "lora"),
        ("use_lora: false", "finetuning_type", "full"),
        ("disable_gradient_checkpointing: true", "gradient_checkpointing", False),
        ("disable_gradient_checkpointing: false", "gradient_checkpointing", True),
        ("use_cpu: true", "device_map", "cpu"),
        ("no_cuda: true", "device_map", "cpu"),
        ("use_cpu: false", "device_map", None),
        ("mixed_precision: fp16", "fp16", True),
        ("mixed_precision: bf16", "bf16", True),
        ("mixed_precision: no", "bf16", False),
        ("flash_attention: true", "flash_attn", "auto"),
        ("flash_attention: false", "flash_attn", "disabled"),
        ("flash_attn: sdpa", "flash_attn", "sdpa"),
        ("torch_dtype: bf16", "infer_dtype", "bfloat16"),
        ("load_in_4bit: true", "quantization_bit", 4),
        ("load_in_8bit: true", "quantization_bit", 8),
        ("load_in_4bit: false\nload_in_8bit: true", "quantization_bit", 8),
        ("quantization_config:\n  load_in_4bit: true\n  bnb_4bit_quant_type: fp4", "quantization_type", "fp4"),
        ("quantization_bit: '3'", "quantization_bit", 3),
        ("quantization_method: bnb", "quantization_method", "bitsandbytes"),
        ("finetuning_type: qlora", "finetuning_type", "lora"),
        ("finetuning_type: dora", "use_dora", True),
        ("finetuning_method: QLoRA", "quantization_bit", 4),
        ("finetuning_type: qlora\nquantization_bit: 8", "quantization_bit", 8),
        ("finetuning_type: qlora\nquantization_bit: null", "quantization_bit", 4),
        ("optim: AdamW", "optim", "adamw_torch"),
        ("lr_scheduler_type: Cosine", "lr_scheduler_type", "cosine"),
    ],
)
def test_a_value_said_in_another_way_is_understood(given, text, key, value):
    assert given(text).value(key) == value


def test_a_translated_key_conflicts_with_the_one_it_stands_for(refused):
    (problem,) = refused("finetuning_type: full\nuse_lora: true\n")
    assert (problem.id, problem.where, problem.values["key"]) == (
        "config.two-spellings",
        "run.yaml:2",
        "finetuning_type",
    )
    (problem,) = refused("use_dora: false\nfinetuning_type: dora\n")
    assert (problem.id, problem.where, problem.values["key"]) == ("config.two-spellings", "run.yaml:1", "use_dora")
    (problem,) = refused("use_lora: maybe\n")
    assert (problem.id, problem.values["expected"]) == ("config.wrong-value", "`true | false`")


def test_a_rank_alone_means_lora():
    run = from_mapping({"model_name": "m", "lora_rank": 16}, "LLaMATuner")
    assert (run.method.finetuning_type, run.method.lora.lora_rank, run.method.lora.alpha) == ("lora", 16, 32)
    assert from_mapping({"lora_rank": 16, "lora_alpha": 8}, "").method.lora.alpha == 8


def test_a_group_is_read_as_if_its_keys_stood_alone(given, refused):
    for group in (*sorted(GROUPS), *section_names()):
        run = given(f"{group}:\n  per_device_train_batch_size: 2\n  lr: 1e-4\n")
        assert run.training.per_device_train_batch_size == 2
        assert run.training.optimizer.learning_rate == 1e-4
        assert run.where("per_device_train_batch_size").endswith(":2")
    assert given("training_arguments:\nlora:\n").given == frozenset()
    assert given("model: some/path").model.model_name_or_path == "some/path"
    assert given("optimizer: adamw").training.optimizer.optim == "adamw_torch"
    (problem,) = refused("seed: 1\ntraining_arguments:\n  seed: 2\n")
    assert (problem.id, problem.where) == ("config.duplicate-key", "run.yaml:3")
    (problem,) = refused("training_arguments: 5\n")
    assert (problem.id, problem.where) == ("config.wrong-value", "run.yaml:1")
    (problem,) = refused("training_arguments:\n  lerning_rate: 5\n")
    assert (problem.id, problem.where, problem.values["nearest"]) == (
        "config.unknown-key-near", "run.yaml:2", "learning_rate",
    )  # fmt: skip


def test_a_precision_may_be_a_mapping(given, refused):
    run = given("fp16:\n  enabled: true\n  loss_scale: 0\n  loss_scale_window: 1000\n  initial_scale_power: 16\n")
    assert run.training.fp16 is True
    assert [(one.id, one.values["key"]) for one in run.notices] == [
        ("config.idle-loss-scale", "fp16.loss_scale"),
        ("config.idle-loss-scale", "fp16.loss_scale_window"),
        ("config.idle-loss-scale", "fp16.initial_scale_power"),
    ]
    assert given("bf16:\n  enabled: auto\n").training.bf16 is None
    (problem,) = refused("fp16:\n  enabled: true\nbf16:\n  enabled: true\n")
    assert (problem.id, problem.where.count("run.yaml:")) == ("config.two-precisions", 2)
    (problem,) = refused("fp16:\n  enabeld: true\n")
    assert (problem.id, problem.values["key"]) == ("config.unknown-key", "fp16.enabeld")


@pytest.mark.parametrize(("key", "id", "offs"), PLANNED_KEYS, ids=[one[0] for one in PLANNED_KEYS])
def test_a_planned_key_is_refused_with_that_word_and_accepted_where_it_asks_for_nothing(key, id, offs):
    for off in (None, "", [], {}, *offs):
        assert not from_mapping({key: off}, "here").notices
    value = next(one for one in (True, 7, "something") if one not in offs)
    with pytest.raises(InputError) as caught:
        from_mapping({key: value}, "here")
    assert (caught.value.id, caught.value.where) == (id, "here")
    assert f"`{key}` is known and not built yet" in caught.value.letter()
    assert "尚未实现" in caught.value.letter("zh")


def test_a_planned_key_that_is_off_is_off_in_any_writing(given, refused):
    given("dataloader_drop_last: False\ntrain_sampling_strategy: Random\n")
    given("do_predict: no\nquantization_bit:\nnum_beams: 1.0\nfsdp: ''\n")
    given("infer_backend: huggingface\ndouble_quantization: true\nneftune_noise_alpha: 0.0\ndeepspeed: {}\n")
    problems = refused("dataloader_drop_last: true\ndo_predict: yes\nfp8: true\ndeepspeed:\n  zero_optimization: {}\n")
    assert [one.where for one in problems] == [f"run.yaml:{line}" for line in range(1, 5)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("stage", word) for word in ("rm", "ppo", "dpo", "kto")),
        ("flash_attn", "fa3"),
        ("save_strategy", "best"),
        ("report_to", "wandb"),
        ("report_to", ["tensorboard", "SwanLab"]),
    ],
)
def test_a_planned_value_of_a_built_key_is_refused_with_that_word(key, value):
    with pytest.raises(InputError) as caught:
        from_mapping({key: value}, "here")
    assert caught.value.id == "config.planned-value"
    assert "known and not built yet" in caught.value.letter()
    assert caught.value.values["expected"] == fields()[key].type


def test_frequencies_that_follow_the_batch_are_refused_with_what_to_take_instead(refused):
    (problem,) = refused("rope_scaling: dynamic\n")
    assert (problem.id, problem.where) == ("config.refused-dynamic", "run.yaml:1")
    for language in ("en", "zh"):
        assert all(word in problem.letter(language) for word in ("`rope_scaling: dynamic`", "`yarn`", "`linear`"))


def test_flash_attention_is_one_word_in_every_spelling(given):
    spelled = ("flash_attn: fa2", "flash_attn: flash_attention_2", "attn_implementation: flash_attention_2")
    assert {given(text).model.flash_attn for text in spelled} == {"fa2"}


@pytest.mark.parametrize(("key", "id"), IDLE_KEYS, ids=[one[0] for one in IDLE_KEYS])
def test_a_key_without_effect_is_accepted_with_its_reason(key, id):
    run = from_mapping({key: 16}, "here")
    assert [(one.id, one.severity, one.where, one.values) for one in run.notices] == [
        (id, "note", "here", {"key": key})
    ]
    assert run.resolved() == Run().resolved()
    assert not from_mapping({key: None}, "here").notices
    for language in ("en", "zh"):
        assert key in letter(id, "here", {"key": key}, language).splitlines()[0]


def test_weights_in_pickles_are_refused_wherever_they_are_asked_for(refused, given):
    problems = refused("save_safetensors: false\nexport_legacy_format: true\n")
    assert [(one.id, one.where) for one in problems] == [
        ("config.no-pickle", "run.yaml:1"),
        ("config.no-pickle", "run.yaml:2"),
    ]
    assert len(given("save_safetensors: true\nexport_legacy_format: false\n").notices) == 1


def test_an_unknown_key_names_the_nearest_that_is_known(refused):
    for wrong, right in (
        ("lora_rnak", "lora_rank"),
        ("learningrate", "learning_rate"),
        ("cutof_length", "cutoff_length"),
    ):
        (problem,) = refused(f"{wrong}: 8")
        assert (problem.id, problem.values["nearest"]) == ("config.unknown-key-near", right)
        assert f"`{right}`" in problem.letter()
        assert f"`{right}`" in problem.letter("zh")
    (problem,) = refused("zzzzzzzzz: 8")
    assert problem.id == "config.unknown-key"


def test_every_known_name_can_be_written_without_being_unknown():
    refused = set()
    for name in known_names():
        try:
            from_mapping({name: None}, "here")
        except LlamaFactoryError as error:
            refused.add(error.id)
    assert len(known_names()) > 450
    assert refused == {"config.wrong-value"}


def test_every_letter_of_the_room_has_both_languages():
    own = [id for id in LETTERS if id.startswith("config.")]
    assert len(own) > 70
    assert all(all(part.strip() for part in LETTERS[id]) for id in own)
