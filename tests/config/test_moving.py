"""Optimizers and schedules: one choice, settings that are known, and what cannot be had says what can."""

from __future__ import annotations

import pytest

from llama_factory.config import from_mapping
from llama_factory.config.audit import audit
from llama_factory.config.optimizers import NAMES, OPTIMIZERS, REFUSED, UNPAGED, state_bytes
from llama_factory.config.schedules import SCHEDULES
from llama_factory.errors import InputError, SeveralErrors

FULL = {"finetuning_type": "full", "learning_rate": 1e-4}
VALID = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps", "val_size": 0.1}


def ids(**keys: object) -> list[str]:
    """Of the problems; none is no problem."""
    try:
        from_mapping(keys, "here")
    except SeveralErrors as several:
        return [one.id for one in several.errors]
    except InputError as error:
        return [error.id]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_is_offered_can_be_chosen(name):
    lr = "constant" if name.startswith("schedule_free") else "linear"
    run = from_mapping({**FULL, "optim": name, "lr_scheduler_type": lr}, "here")
    assert run.training.optimizer.kind == NAMES[name]
    assert run.training.optimizer.facts is OPTIMIZERS[NAMES[name]]
    again = from_mapping(run.resolved(), "again")
    assert again.resolved() == run.resolved()


@pytest.mark.parametrize(("name", "id"), REFUSED.items())
def test_a_name_that_cannot_be_had_says_why(name, id):
    assert ids(optim=name) == [id]
    with pytest.raises(InputError) as caught:
        from_mapping({"optim": name}, "here")
    assert name in caught.value.letter()
    assert "optim" in caught.value.letter().splitlines()[1] or "adamw_torch" in caught.value.letter()


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"use_galore": True}, "galore_adamw"),
        ({"use_galore": True, "optim": "adafactor"}, "galore_adafactor"),
        ({"use_apollo": True}, "apollo_adamw"),
        ({"use_badam": True}, "badam_layer"),
        ({"use_badam": True, "badam_mode": "ratio"}, "badam_ratio"),
        ({"use_adam_mini": True}, "adam_mini"),
        ({"use_muon": True}, "muon"),
        ({"adafactor": True}, "adafactor"),
        ({}, "adamw"),
    ],
)
def test_a_switch_chooses_an_optimizer(keys, kind):
    assert from_mapping({**FULL, **keys}, "here").training.optimizer.kind == kind


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"use_galore": True, "use_muon": True}, "config.two-optimizers"),
        ({"use_badam": True, "use_adam_mini": True}, "config.two-optimizers"),
        ({"use_galore": True, "optim": "adamw_8bit"}, "config.optimizer-beside"),
        ({"use_muon": True, "optim": "lion"}, "config.optimizer-beside"),
        ({"use_galore": True, "galore_layerwise": True}, "config.optimizer-in-backward"),
        ({"use_apollo": True, "apollo_layerwise": True}, "config.optimizer-in-backward"),
        ({"use_galore": True, "finetuning_type": "lora"}, "config.optimizer-on-adapters"),
        ({"optim": "apollo_adamw", "finetuning_type": "lora"}, "config.optimizer-on-adapters"),
        ({"use_badam": True, "finetuning_type": "lora"}, "config.optimizer-on-adapters"),
        ({"use_adam_mini": True, "finetuning_type": "lora"}, "config.optimizer-on-adapters"),
        ({"optim": "sgd", "optim_args": "momentun=0.9"}, "config.no-such-setting"),
        ({"optim": "sgd", "optim_args": "momentum=fast"}, "config.wrong-setting"),
        ({"optim_args": {"momentum": 0.9}}, "config.no-such-setting"),
        ({"use_galore": True, "optim_args": "rank=0"}, "config.wrong-setting"),
        ({"use_galore": True, "optim_args": "scale=0"}, "config.wrong-setting"),
        ({"use_muon": True, "optim_args": "ns_steps=2.5"}, "config.wrong-setting"),
        ({"optim": "galore_adamw", "optim_args": "rank=8", "galore_rank": 4}, "config.two-optimizers"),
        ({"optim": "schedule_free_adamw"}, "config.schedule-free"),
        (
            {"optim": "schedule_free_sgd", "lr_scheduler_type": "constant", "adam_beta1": 0},
            "config.averaged-without-beta",
        ),
        ({"use_badam": True, "badam_switch_mode": "fixed"}, "config.badam-fixed-where"),
        ({"lr_scheduler_kwargs": {"num_cycles": 2}}, "config.no-such-setting"),
        (
            {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": "num_cycles=1.5"},
            "config.wrong-setting",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "config.schedule-needs"),
        (
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": '{"min_lr": 1e-6, "min_lr_rate": 0.1}'},
            "config.schedule-needs",
        ),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "config.schedule-needs"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "config.schedule-hears-nothing"),
        ({**VALID, "lr_scheduler_type": "greedy"}, "config.floor-above-rate"),
        ({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": "lr_end=0.01"}, "config.floor-above-rate"),
        ({**VALID, "lr_scheduler_kwargs": "mode=max"}, "config.wrong-setting"),
        ({"lr_scheduler_kwargs": "num_cycles"}, "config.wrong-value"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(keys, expected):
    assert ids(**{**FULL, **keys}) == [expected]


@pytest.mark.parametrize(
    "given", ["num_cycles=3", '{"num_cycles": 3}', {"num_cycles": 3}, {"num_cycles": "3"}, " num_cycles = 3 , "]
)
def test_settings_are_read_in_every_writing(given):
    run = from_mapping({"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": given}, "here")
    assert run.training.schedule.kwargs == {"num_cycles": 3}
    assert from_mapping(run.resolved(), "again").resolved() == run.resolved()


@pytest.mark.parametrize("nothing", ["", "{}", {}, None])
def test_no_settings_are_none(nothing):
    assert from_mapping({"lr_scheduler_kwargs": nothing}, "here").training.schedule.kwargs == {}


def test_the_rank_is_the_key_of_the_optimizer_or_what_optim_args_says():
    for optim in ("galore_adamw", "apollo_adamw"):
        own = f"{optim.split('_')[0]}_rank"
        assert from_mapping({**FULL, "optim": optim, own: 8}, "here").training.optimizer.rank == 8
        assert from_mapping({**FULL, "optim": optim, "optim_args": "rank=4"}, "here").training.optimizer.rank == 4


def test_keys_that_nothing_reads_are_said():
    def unused(**keys: object) -> list[str]:
        run = from_mapping({**FULL, **keys}, "here")
        return [one.values["key"] for one in run.notices if one.id == "config.unused-key"]

    assert unused(galore_rank=8) == ["galore_rank"]
    assert unused(optim="sgd", adam_beta1=0.5) == ["adam_beta1"]
    assert unused(use_galore=True, galore_rank=8) == []
    assert unused(optim_target_modules="q_proj") == ["optim_target_modules"]
    assert unused(**VALID, warmup_ratio=0.1) == ["warmup_ratio"]
    assert unused(use_badam=True, badam_update_ratio=0.2, badam_switch_interval=9) == ["badam_update_ratio"]
    assert unused(use_badam=True, badam_start_block=3, badam_switch_mode="random") == ["badam_start_block"]
    head = {"finetuning_type": "freeze", "freeze_extra_modules": "lm_head"}
    assert unused(**head, use_badam=True) == ["freeze_extra_modules"]
    assert unused(**head, use_badam=True, badam_mode="ratio") == ["freeze_extra_modules"]
    assert unused(**head, use_muon=True) == []
    shares = {"use_badam": True, "badam_mode": "ratio", "badam_mask_mode": "scatter"}
    assert unused(**shares, badam_switch_mode="fixed", badam_verbose=1) == ["badam_switch_mode", "badam_verbose"]
    assert unused(**shares, weight_decay=0.1) == ["weight_decay"]
    assert unused(use_badam=True, weight_decay=0.1) == []


def test_muon_on_adapters_is_worth_a_warning():
    run = from_mapping({"use_muon": True}, "here")
    assert [one.id for one in run.notices if one.severity == "warning"] == ["config.muon-on-adapters"]


def test_the_second_beta_is_the_optimizers_own_unless_given():
    assert from_mapping({}, "").training.optimizer.betas == (0.9, 0.999)
    assert from_mapping({"optim": "lion"}, "").training.optimizer.betas == (0.9, 0.99)
    assert from_mapping({"optim": "lion", "adam_beta2": 0.95}, "").training.optimizer.betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("optim", "rate", "expected"),
    [
        ("adamw_torch", 1e-4, []), ("lion", 1e-4, ["config.rate-high"]), ("lion", 1e-5, []),
        ("sgd", 1e-5, ["config.rate-low"]), ("sgd", 1e-2, []), ("adafactor", 1e-3, []),
        ("adamw_torch", 1e-3, ["config.rate-high"]),
    ],
)  # fmt: skip
def test_the_usual_rates_are_the_optimizers(optim, rate, expected):
    run = from_mapping({"finetuning_type": "full", "optim": optim, "learning_rate": rate}, "here")
    assert [one.id for one in audit(run)] == expected


def test_what_is_known_of_memory():
    """By hand, for a matrix of 576 * 1536: AdamW keeps two fp32 numbers for each."""
    count = 576 * 1536
    assert state_bytes("adamw", (576, 1536)) == 8 * count
    assert state_bytes("galore_adamw", (576, 1536), rank=16) == 8 * 16 * 1536 + 4 * 16 * 576
    assert state_bytes("adafactor", (576, 1536)) == 4 * (576 + 1536)
    assert state_bytes("adafactor", (576,)) == 4 * 576
    assert state_bytes("muon", (576, 1536)) == 4 * count
    assert state_bytes("adamw_8bit", (64,)) == 8 * 64
    assert state_bytes("badam_layer", (576, 1536), blocks=30) == 12 * count / 30
    assert set(UNPAGED.values()) <= set(NAMES)
    assert all(facts.state >= 0 for facts in OPTIMIZERS.values())
    assert all(shape.needs == () or not shape.listens for shape in SCHEDULES.values())
