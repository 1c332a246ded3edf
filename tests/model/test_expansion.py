"""LLaMA Pro: new blocks change nothing until they have learned, learn alone, and leave as a model like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import IDS, attach, logits, run_for, shaken
from transformers import AutoModelForCausalLM

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError, MachineError
from llama_factory.model import adapters, expansion, load, save
from llama_factory.model.expansion import Place, places
from llama_factory.model.methods import Start
from llama_factory.testing.tiny import tiny_model as tiny

PRO: dict[str, Any] = {"finetuning_type": "freeze", "use_llama_pro": True}


def test_new_blocks_keep_packed_rows_apart(tiny_model: Path) -> None:
    """They hear which attention the model computes with; as long as they write zeros, nothing would show it."""
    from llama_factory.model.policy import Policy
    from llama_factory.testing.prove import rows

    model: Any = load.load(tiny_model, dtype="float32")
    attach(model, tiny_model, llama_pro_blocks=1, **PRO)
    shaken(model, size=0.3)
    policy = Policy(model)
    assert policy.layout is not None
    assert policy.verify(rows((9, 14, 5), common=0)[0]) < 1e-4


def test_a_copy_stands_behind_each_group() -> None:
    assert places(4, 2) == [
        Place(0, False), Place(1, False), Place(1, True), Place(2, False), Place(3, False), Place(3, True),
    ]  # fmt: skip
    assert places(2, 2) == [Place(0, False), Place(0, True), Place(1, False), Place(1, True)]
    assert [place.is_new for place in places(30, 3)].count(True) == 3


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_model_says_the_same_until_the_new_blocks_have_learned(tiny_model: Path, blocks: int) -> None:
    model: Any = load.load(tiny_model, dtype="float32")
    before = logits(model)
    done = attach(model, tiny_model, llama_pro_blocks=blocks, **PRO)
    assert torch.equal(logits(model), before)
    assert model.config.num_hidden_layers == len(model.model.layers) == 2 + blocks
    assert [layer.self_attn.layer_idx for layer in model.model.layers] == list(range(2 + blocks))
    new = [at for at, place in enumerate(places(2, blocks)) if place.is_new]
    assert {int(name.split(".")[2]) for name in done.trainable} == set(new)
    model.train()(IDS, labels=IDS).loss.backward()
    own = dict(model.named_parameters())
    for at in new:
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            value = own[f"model.layers.{at}.{name}.weight"]
            assert not value.any()
            assert value.grad.any()
    assert all(own[name].grad is None for name in own if name not in done.trainable)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2", "phi", "gemma", "mistral"])
def test_types_of_several_makes_can_grow(kind: str) -> None:
    model: Any = tiny(kind, attention=None)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        expansion.expand(model, 2)
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)
    assert model.config.num_hidden_layers == 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_result_is_a_model_that_plain_transformers_opens(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    model: Any = load.load(tiny_model, dtype=dtype)
    attach(model, tiny_model, llama_pro_blocks=1, **PRO)
    masters = {name: value.to(getattr(torch, dtype)).float() for name, value in shaken(model).items()}
    folder = tmp_path / "out"
    folder.mkdir()
    run = run_for(tiny_model, llama_pro_blocks=1, **PRO)
    save.trained_files(model, masters, run, folder, base_folder=tiny_model, template_text="", template_fingerprint="")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    assert json.loads((folder / "config.json").read_text("utf-8"))["num_hidden_layers"] == 3
    assert torch.equal(logits(theirs.eval()), logits(model.eval()))
    assert expansion.already(folder) == 1
    assert expansion.already(tiny_model) == 0


def test_trained_further_by_the_same_file_it_does_not_grow_again(tiny_model: Path, tmp_path: Path) -> None:
    model: Any = load.load(tiny_model, dtype="float32")
    run = run_for(tiny_model, llama_pro_blocks=1, **PRO)
    attach(model, tiny_model, llama_pro_blocks=1, **PRO)
    folder = tmp_path / "out"
    folder.mkdir()
    save.trained_files(
        model, shaken(model), run, folder, base_folder=tiny_model, template_text="", template_fingerprint=""
    )
    again: Any = load.load(folder, dtype="float32")
    done = adapters.attach(again, run.method, Start("float32", 0, base_folder=folder))
    assert again.config.num_hidden_layers == 3
    assert {int(name.split(".")[2]) for name in done.trainable} == {2}
    assert torch.equal(logits(again), logits(model.eval()))


def test_a_model_that_was_grown_elsewhere_trains_the_last_layer_of_each_group(tiny_model: Path) -> None:
    model: Any = load.load(tiny_model, dtype="float32")
    expansion.expand(model, 2)
    done = attach(model, tiny_model, freeze_trainable_layers=2, **PRO)
    assert {int(name.split(".")[2]) for name in done.trainable} == {1, 3}
    with pytest.raises(InputError) as caught:
        attach(model, tiny_model, freeze_trainable_layers=3, **PRO)
    assert caught.value.id == "model.pro-layers"


def test_blocks_that_cannot_be_spread_evenly_are_refused(tiny_model: Path) -> None:
    for blocks in (3, 5):
        with pytest.raises(InputError, match="1, 2") as caught:
            attach(load.load(tiny_model, dtype="float32"), tiny_model, llama_pro_blocks=blocks, **PRO)
        assert caught.value.id == "model.pro-blocks"


def test_a_model_that_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "WRITERS", ("down_proj",))
    with pytest.raises(InputError) as caught:
        expansion.expand(tiny("llama", attention=None), 1)
    assert caught.value.id == "model.pro-changes"


def test_memory_that_runs_out_is_not_taken_for_a_model_of_the_wrong_type(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*given: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(expansion, "_insert", no_room)
    with pytest.raises(MachineError) as caught:
        expansion.expand(load.load(tiny_model, dtype="float32"), 2)
    assert caught.value.id == "model.no-memory"


def test_it_needs_freeze_and_its_keys_need_it() -> None:
    with pytest.raises(LlamaFactoryError) as caught:
        from_mapping({"use_llama_pro": True}, "here")
    assert caught.value.id == "config.pro-needs-freeze"
    run = from_mapping({"finetuning_type": "freeze", "llama_pro_blocks": 4}, "here")
    assert [one.values["key"] for one in run.notices] == ["llama_pro_blocks"]
