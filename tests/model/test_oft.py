"""OFT: rotations that peft puts there, saves and reopens, at the sizes that were asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.oft.layer import OFTRotationModule
from test_adapters import IDS, attach, logits, run_for, shaken
from transformers import GPT2Config, GPT2LMHeadModel

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.export import export_model, merge
from llama_factory.model import adapters, audit, load, save, weights
from llama_factory.model.methods import Start


def oft_on(base: Path, **given: Any) -> tuple[torch.nn.Module, adapters.Attached]:
    model = load.load(base, dtype="float32")
    return model, attach(model, base, finetuning_type="oft", **given)


def saved(base: Path, folder: Path, **given: Any) -> tuple[torch.nn.Module, Path]:
    """An adapter with weights that turn something, in peft's format."""
    model, _ = oft_on(base, **given)
    masters = shaken(model, size=0.05)
    folder.mkdir(parents=True)
    run = run_for(base, finetuning_type="oft", **given)
    save.trained_files(model, masters, run, folder, base_folder=base, template_text="t", template_fingerprint="f")
    return model, folder


def test_it_starts_as_its_base_and_every_layer_has_blocks_of_the_size_that_was_asked_for(tiny_model: Path) -> None:
    model, done = oft_on(tiny_model, oft_block_size=16)
    assert torch.equal(logits(model), logits(load.load(tiny_model, dtype="float32")))
    # 16 * 15 / 2 numbers a block; 32 wide: q k v o gate up; 64 wide: down; two layers
    assert done.trainable_count == 2 * 120 * (6 * 2 + 4)
    assert done.trainable_count == audit.trained_count(
        run_for(tiny_model, finetuning_type="oft", oft_block_size=16), list(weights.entries(tiny_model).values()), {}
    )
    rotations = [module for module in model.modules() if isinstance(module, OFTRotationModule)]
    assert {module.block_size for module in rotations} == {16}
    assert len(rotations) == 14


def test_rotations_stand_in_float32_in_a_half_precision_model(tiny_model: Path) -> None:
    model: Any = load.load(tiny_model, dtype="bfloat16")
    done = attach(model, tiny_model, dtype="bfloat16", finetuning_type="oft")
    own = dict(model.named_parameters())
    assert {own[name].dtype for name in done.trainable} == {torch.float32}
    model(IDS, labels=IDS).loss.backward()
    assert all(own[name].grad is not None for name in done.trainable)


def test_plain_peft_and_we_open_what_was_saved_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    model, folder = saved(tiny_model, tmp_path / "oft", oft_rank=2)
    theirs = PeftModel.from_pretrained(load.load(tiny_model, dtype="float32"), folder)
    opened = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model, trainable=True)
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-5, atol=1e-5)
    assert torch.equal(logits(opened.module), logits(model))
    assert len(opened.trainable) == 14
    assert not torch.allclose(logits(model), logits(load.load(tiny_model, dtype="float32")), atol=1e-3)


def test_merging_turns_the_weights_by_as_much(tiny_model: Path, tmp_path: Path) -> None:
    model, _ = saved(tiny_model, tmp_path / "oft")
    before, layers = logits(model), merge.adapted(model)
    assert len(layers) == 14
    assert not merge.is_zero(layers)
    merge.merge(model, layers)
    assert not any(isinstance(module, OFTRotationModule) for module in model.modules())
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-4)
    assert merge.is_zero(merge.adapted(oft_on(tiny_model)[0]))


def test_export_merges_it_and_proves_it(tiny_model: Path, tmp_path: Path) -> None:
    _, folder = saved(tiny_model, tmp_path / "oft")
    asked = {"model_name_or_path": str(tiny_model), "adapter_name_or_path": str(folder), "finetuning_type": "oft",
             "export_dir": str(tmp_path / "merged"), "allow_template_mismatch": True}  # fmt: skip
    report = export_model(from_mapping(asked, "a test"), lambda line: None)
    assert report.changed == 14
    assert report.effect.kl > 100 * report.merged.kl


def test_a_block_that_does_not_fit_is_refused_with_those_that_do(tiny_model: Path) -> None:
    for given in ({"oft_block_size": 12}, {"oft_rank": 5}, {"oft_block_size": 64}):
        with pytest.raises(InputError) as caught:
            oft_on(tiny_model, **given)
        assert caught.value.id == "model.oft-block-size"
        assert "16" in caught.value.letter()
    with pytest.raises(InputError, match="oft_target"):
        oft_on(tiny_model, oft_target="q_prj")


def test_a_layer_that_is_stored_turned_round_is_refused(tiny_model: Path) -> None:
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=64))
    with pytest.raises(InputError) as caught:
        adapters.attach(model, run_for(tiny_model, finetuning_type="oft").method, Start("float32", 0))
    assert caught.value.id == "model.oft-on-conv"


def test_module_dropout_leaves_blocks_unturned_in_training_alone(tiny_model: Path) -> None:
    model, _ = oft_on(tiny_model, oft_block_size=8, module_dropout=0.5)
    shaken(model, size=0.3)
    still = logits(model.eval())
    assert torch.equal(logits(model), still)
    torch.manual_seed(1)
    first, second = logits(model.train()), logits(model)
    torch.manual_seed(1)
    assert torch.equal(logits(model), first)
    assert not torch.equal(first, second)
    assert not torch.equal(first, still)
    every, _ = oft_on(tiny_model, oft_block_size=8, module_dropout=0.999999)
    shaken(every, size=0.3)
    base = load.load(tiny_model, dtype="float32")
    torch.testing.assert_close(logits(every.train()), logits(base), rtol=1e-5, atol=1e-5)


def test_peft_still_does_not_apply_module_dropout_itself(tiny_model: Path) -> None:
    """When this fails, `upstream.drop_rotations` can go."""
    from peft import OFTConfig, get_peft_model

    model: Any = load.load(tiny_model, dtype="float32")
    theirs = get_peft_model(model, OFTConfig(target_modules=["q_proj"], module_dropout=0.9, oft_block_size=8))
    shaken(theirs, size=0.3)
    theirs.train()
    assert torch.equal(logits(theirs), logits(theirs))


def test_several_adapters_of_which_one_turns_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    folders = [saved(tiny_model, tmp_path / name)[1] for name in ("one", "two")]
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), folders, tiny_model)
    assert caught.value.id == "model.adapters-do-not-add"


def test_the_number_of_blocks_and_their_width_are_not_given_together() -> None:
    for given, id in (
        ({"oft_rank": 4, "oft_block_size": 8}, "config.two-block-sizes"),
        ({"oft_block_size": 0}, "config.no-block-size"),
    ):
        with pytest.raises(LlamaFactoryError) as caught:
            from_mapping({"finetuning_type": "oft", **given}, "here")
        assert caught.value.id == id


def test_the_note_keeps_its_settings(tiny_model: Path, tmp_path: Path) -> None:
    _, folder = saved(tiny_model, tmp_path / "oft", oft_rank=2)
    note = json.loads((folder / "llama_factory.json").read_text("utf-8"))
    assert note["method"]["finetuning_type"] == "oft"
    assert note["method"]["oft_rank"] == 2
