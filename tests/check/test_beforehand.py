"""What would be found when a model, an optimizer or its adapters are there is found before any weight is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planting import LONG, copy_of, good_rows, ids, settings
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as torch_file

from llama_factory import recipes
from llama_factory.config import from_mapping
from llama_factory.errors import InputError
from llama_factory.model import load

GALORE = {"finetuning_type": "full", "learning_rate": 1e-5, "use_galore": True, "galore_rank": 4}
APOLLO = {"finetuning_type": "full", "learning_rate": 1e-5, "use_apollo": True, "apollo_rank": 4}
WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "rank of GaLore": ("trainer.rank-too-large", {**GALORE, "galore_rank": 4096}),
    "rank of APOLLO": ("trainer.rank-too-large", {**APOLLO, "apollo_rank": 32}),
    "rank of some layers": (
        "trainer.rank-too-large", {**GALORE, "finetuning_type": "freeze", "freeze_trainable_layers": 1,
                                   "galore_rank": 999},
    ),
    "matrices by name": ("trainer.no-optimizer-target", {**GALORE, "galore_target": "mpl"}),
    "matrices that stay": (
        "trainer.no-optimizer-target", {**GALORE, "finetuning_type": "freeze", "freeze_trainable_layers": 1,
                                        "freeze_trainable_modules": "self_attn", "galore_target": "mlp"},
    ),
    "a kernel for GPUs": ("model.no-flash", {"flash_attn": "fa2"}),
}  # fmt: skip


@pytest.mark.plants("trainer.rank-too-large", "trainer.no-optimizer-target", "model.no-flash")
def test_what_cannot_be_is_found_without_weights(checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "load", lambda *given, **named: pytest.fail("weights were loaded"))
    for id, changes in WRONG.values():
        report = checked(**changes)
        assert ids(report, "error") == [id], changes
        assert report.exit_code == 2
    assert ids(checked(**GALORE), "error") == ids(checked(**APOLLO), "error") == []


def test_train_refuses_it_as_early(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "load", lambda *given, **named: pytest.fail("weights were loaded"))
    given = settings(tiny_model, tmp_path) | GALORE | {"galore_rank": 4096}
    with pytest.raises(InputError) as caught:
        recipes.train(from_mapping(given, "test"), say=lambda line: None)
    assert caught.value.id == "trainer.rank-too-large"


@pytest.mark.plants("model.beyond-window-learned")
def test_learned_tokens_take_their_part_of_the_window(checked, tiny_model: Path, tmp_path: Path) -> None:
    rows = good_rows()
    longest = max(int(one) for one in (checked(rows).data_sets[0].length_max,))
    model = copy_of(tiny_model, tmp_path / "model", max_position_embeddings=longest + 20)
    fits = {"model_name_or_path": model, "finetuning_type": "prefix_tuning"}
    for few in ({}, {"num_virtual_tokens": 20}):
        assert "model.beyond-window-learned" not in ids(checked(rows, **fits, **few))
    report = checked(rows, **fits, num_virtual_tokens=21)
    (found,) = (one for one in report.findings if one.id == "model.beyond-window-learned")
    assert (found.severity, found.values["room"], found.values["before"]) == ("warning", longest - 1, 21)
    words = {"finetuning_type": "prompt_tuning", "prompt_init_text": "Answer the question. " * 30}
    report = checked(rows, **(fits | words))
    (found,) = (one for one in report.findings if one.id == "model.beyond-window-learned")
    assert found.values["before"] > 60
    assert ids(checked([*rows, LONG], **(fits | {"finetuning_type": "lora"}))) == ["model.beyond-window"]


@pytest.fixture
def trained(tiny_model: Path, tmp_path: Path):
    def train(name: str, **changes: Any) -> str:
        given = settings(tiny_model, tmp_path) | {"max_steps": 1, "report_to": "none", "report_samples": 0}
        given |= {"output_dir": str(tmp_path / name)} | changes
        recipes.train(from_mapping(given, "test"), say=lambda line: None)
        return str(tmp_path / name)

    return train


@pytest.mark.plants("model.adapter-needs-others", "model.adapter-does-not-add", "model.adapters-do-not-add")
def test_adapters_that_do_not_add_up_are_found_without_a_step(checked, trained) -> None:
    one = trained("one")
    two = trained("two", adapter_name_or_path=one, create_new_adapter=True)
    assert ids(checked(adapter_name_or_path=f"{one},{two}"), "error") == []
    assert ids(checked(adapter_name_or_path=two), "error") == ["model.adapter-needs-others"]
    dora, oft = trained("dora", use_dora=True), trained("oft", finetuning_type="oft", oft_block_size=8)
    assert ids(checked(adapter_name_or_path=dora), "error") == []
    for above in (
        {"adapter_name_or_path": f"{dora},{one}"},
        {"adapter_name_or_path": dora, "create_new_adapter": True},
    ):
        assert ids(checked(**above), "error") == ["model.adapter-does-not-add"]
    assert ids(checked(adapter_name_or_path=f"{oft},{one}"), "error") == ["model.adapters-do-not-add"]


@pytest.mark.plants("model.other-base", "model.adapter-from-elsewhere")
def test_an_adapter_of_another_base_is_found_without_a_step(checked, trained, tiny_model: Path, tmp_path: Path) -> None:
    one, other = trained("one"), copy_of(tiny_model, tmp_path / "other")
    file = Path(other) / "model.safetensors"
    held = load_file(file)
    save_file({name: value + 1 for name, value in held.items()}, file)
    report = checked(adapter_name_or_path=one, model_name_or_path=other)
    assert ids(report, "error") == ["model.other-base"]
    assert report.exit_code == 2
    (Path(one) / "llama_factory.json").unlink()
    assert ids(checked(adapter_name_or_path=one)) == ["model.adapter-from-elsewhere"]


def test_only_what_is_named_outside_the_layers_may_learn(checked, trained, tiny_model: Path) -> None:
    given = {"finetuning_type": "freeze", "freeze_trainable_layers": 0, "freeze_extra_modules": "norm"}
    assert ids(checked(**given, learning_rate=1e-5), "error") == []
    folder = Path(trained("norm", **given, learning_rate=1e-2))
    before, after = (torch_file(path / "model.safetensors") for path in (tiny_model, folder))
    moved = {name for name, value in after.items() if not (value == before[name].to(value.dtype)).all()}
    assert moved == {"model.norm.weight"}
