"""A run says what it will take before it loads a weight, and one that cannot fit is not begun."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from recipe_settings import settings

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors import MachineError
from llama_factory.model import load
from llama_factory.recipes import foresight, sft

MB = 1_000_000


def free_here(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(foresight.machine, "free_memory", lambda: size)


def a_run(model: Path, rows: Path, tmp_path: Path, **keys: object):
    return from_mapping(settings(model, rows, tmp_path / "out", max_steps=2, save_strategy="no", **keys), "test")


def test_the_plan_is_said_before_the_weights_are_loaded_and_compared_with_what_it_took(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    loaded_after: list[int] = []
    usual = load.load_for

    def load_for(*words: object, **more: object):
        loaded_after.append(sum(line.startswith("Plan: ") for line in said))
        return usual(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "load_for", load_for)
    outcome = recipes.train(a_run(tiny_model, rows, tmp_path), say=said.append)
    assert loaded_after == [1]
    (line,) = [line for line in said if line.startswith("Plan: ")]
    assert re.search(r"0\.\d\d GB of memory \(weights .*\); .* are free\. About \d+ s for 2 steps\.", line)
    assert outcome.foreseen is not None
    assert outcome.foreseen.measured_memory is not None
    assert outcome.foreseen.measured_s is not None
    assert outcome.foreseen.memory > 0
    assert (outcome.foreseen.train_s or 0) > 0


def test_a_run_that_cannot_fit_is_not_begun(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_here(monkeypatch, 50 * MB)
    monkeypatch.setattr(load, "load_for", lambda *words, **more: pytest.fail("the weights were loaded"))
    with pytest.raises(MachineError) as refused:
        recipes.train(a_run(tiny_model, rows, tmp_path), say=lambda line: None)
    assert refused.value.id == "planner.will-not-fit"
    assert refused.value.exit_code == 4
    letter = refused.value.letter()
    assert "0.05 GB are free" in letter
    assert "ignore_memory_plan: true" in letter


@pytest.mark.parametrize("asked", [None, False, True])
def test_activations_are_computed_twice_where_only_that_fits_and_nobody_forbids_it(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool | None
) -> None:
    def planned(name: str, **keys: object) -> tuple[int, bool]:
        found = recipes.train(a_run(tiny_model, rows, tmp_path / name, **keys), say=said.append).foreseen
        assert found is not None
        return found.memory - found.before, found.checkpointing

    said: list[str] = []
    keys = {} if asked is None else {"gradient_checkpointing": asked}
    once, _ = planned("once", gradient_checkpointing=False)
    twice, on = planned("twice", gradient_checkpointing=True)
    assert on
    assert twice < once
    assert planned("plenty", **keys)[1] is bool(asked)
    free_here(monkeypatch, (once + twice) // 2)
    assert not any("computed twice" in line for line in said)
    if asked is False:
        with pytest.raises(MachineError, match="would take"):
            planned("here", **keys)
        return
    made, usual = [], sft.policy_of
    monkeypatch.setattr(sft, "policy_of", lambda bench: made.append(usual(bench)) or made[-1])
    assert planned("here", **keys) == (twice, True)
    assert made[0][0].module.is_gradient_checkpointing
    assert any("computed twice" in line for line in said) is (asked is None)


def test_it_is_begun_all_the_same_when_the_plan_shall_be_ignored(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_here(monkeypatch, 50 * MB)
    said: list[str] = []
    run = a_run(tiny_model, rows, tmp_path, ignore_memory_plan=True)
    outcome = recipes.train(run, say=said.append)
    assert outcome.steps == 2
    assert any("less than 20 % are left" in line for line in said)


def test_a_model_of_an_unknown_type_is_trained_without_a_plan(
    tiny_model: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_factory.planner.shape.FAMILIES", {})
    said: list[str] = []
    outcome = recipes.train(a_run(tiny_model, rows, tmp_path), say=said.append)
    assert outcome.foreseen is None
    assert any("no plan without knowing" in line for line in said)


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ({}, 8.0),
        ({"optim": "sgd"}, 0.0),
        ({"optim": "lion"}, 4.0),
        ({"finetuning_type": "full", "use_muon": True}, 4.0),
    ],
)
def test_the_optimizer_is_counted_as_it_says_of_itself(
    keys: dict[str, object], state: float, tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    from llama_factory.planner.known import KNOWN
    from llama_factory.planner.shape import read_shape

    given = settings(tiny_model, rows, tmp_path / "out", **keys)
    if keys.get("finetuning_type") == "full":
        given = {key: value for key, value in given.items() if not key.startswith("lora")}
    shape = read_shape(KNOWN["smollm2-135m"].config)
    assert foresight.setup_of(from_mapping(given, "test"), shape, (10,), 1.0, number=2).state == pytest.approx(state)


def test_what_learns_whole_beside_adapters_is_counted(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    from llama_factory.planner.known import KNOWN
    from llama_factory.planner.setup import trained
    from llama_factory.planner.shape import read_shape

    for name, heads in (("smollm2-135m", 1), ("llama-7b", 2)):
        shape = read_shape(KNOWN[name].config)
        runs = [
            from_mapping(settings(tiny_model, rows, tmp_path / "out", **keys), "test")
            for keys in ({}, {"additional_target": ["embed_tokens", "lm_head"]})
        ]
        plain, more = (trained(shape, foresight.setup_of(run, shape, (10,), 1.0, number=2)) for run in runs)
        assert more - plain == heads * shape.head


def test_a_base_in_few_bits_is_counted_as_it_lies_there_or_as_it_is_asked_for(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    from llama_factory.model.quantised.checkpoints import Form
    from llama_factory.planner.known import KNOWN
    from llama_factory.planner.shape import read_shape

    shape, hqq = read_shape(KNOWN["smollm2-135m"].config), {"quantization_bit": 4, "quantization_method": "hqq"}
    gptq = Form("gptq", 4, 128, False, ())
    for keys, lying, expected in (
        ({}, None, (16, 0.0, False)),
        (hqq, None, (4, 0.5 + 2 * 2 / 64, False)),
        ({**hqq, "quantization_bit": 8}, None, (8, 1 + 2 * 2 / 64, False)),
        ({"quantization_bit": 8}, None, (8, 1.0, True)),
        ({}, gptq, (4, 0.5 + (2 + 0.5) / 128, False)),
        ({}, replace(gptq, group_size=-1), (4, 0.5, False)),
        ({}, Form("bitsandbytes", 8, None, False, ()), (8, 1.0, True)),
    ):
        run = from_mapping(settings(tiny_model, rows, tmp_path / "out", **keys), "test")
        setup = foresight.setup_of(run, shape, (10,), 1.0, number=2, lying=lying)
        assert (setup.bits, setup.each, setup.rounds) == (expected[0], pytest.approx(expected[1]), expected[2])


@pytest.mark.parametrize(
    "keys",
    [
        {"finetuning_type": "prompt_tuning", "num_virtual_tokens": 7},
        {"finetuning_type": "p_tuning"},
        {"finetuning_type": "p_tuning", "encoder_reparameterization_type": "lstm", "encoder_hidden_size": 24},
        {"finetuning_type": "prefix_tuning", "num_virtual_tokens": 5},
        {"finetuning_type": "prefix_tuning", "prefix_projection": True, "encoder_hidden_size": 24},
    ],
)
def test_learned_prompts_have_as_many_numbers_as_peft_gives_them(
    keys: dict[str, object], tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    from llama_factory.model.methods import METHODS, Start
    from llama_factory.planner.setup import trained
    from llama_factory.planner.shape import read_shape

    given = {key: value for key, value in settings(tiny_model, rows, tmp_path / "out", **keys).items()
             if not key.startswith("lora")}  # fmt: skip
    run = from_mapping(given, "test")
    said = load.check_folder(tiny_model)
    setup = foresight.setup_of(run, read_shape(said), (10,), 1.0, number=4)
    base = load.load_for(run, tiny_model, dtype="float32", device="cpu").requires_grad_(False)
    made = METHODS[run.method.finetuning_type].attach(base, run.method, Start("float32", 0, True, tiny_model)).module
    assert trained(read_shape(said), setup) == sum(one.numel() for one in made.parameters() if one.requires_grad)
    assert setup.before == (0 if "prefix" in str(keys["finetuning_type"]) else keys.get("num_virtual_tokens", 20))


def test_new_blocks_are_planned_until_they_are_there(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    from llama_factory.recipes.setups import new_blocks

    keys = {"finetuning_type": "freeze", "use_llama_pro": True, "llama_pro_blocks": 2}
    given = {key: value for key, value in settings(tiny_model, rows, tmp_path / "out", **keys).items()
             if not key.startswith("lora")}  # fmt: skip
    assert new_blocks(from_mapping(given, "test"), tiny_model) == 2
    there = from_mapping({**given, "llama_pro_blocks": None, "freeze_trainable_layers": 2}, "test")
    assert new_blocks(there, tiny_model) == 0


def test_badam_and_a_second_copy_are_planned(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    from llama_factory.planner.known import KNOWN
    from llama_factory.planner.shape import read_shape

    shape = read_shape(KNOWN["smollm2-135m"].config)
    plain = {key: value for key, value in settings(tiny_model, rows, tmp_path / "out").items()
             if not key.startswith("lora")}  # fmt: skip

    def setup(**keys: object):
        run = from_mapping({**plain, "finetuning_type": "full", **keys}, "test")
        return foresight.setup_of(run, shape, (10,), 1.0, number=2)

    layer = shape.layers[0].parameters
    blocks = setup(use_badam=True)
    assert (blocks.active, blocks.state) == (layer, 12.0)
    share = setup(use_badam=True, badam_mode="ratio", badam_update_ratio=0.25)
    assert (share.active, share.state) == (30 * layer, 2.0)
    assert setup(use_asft_loss=True).reference
    assert not setup().reference
