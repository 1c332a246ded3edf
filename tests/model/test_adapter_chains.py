"""Adapters on adapters: what is opened again is what was trained, and what lacks its ground is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_adapters import IDS, attach, logits, run_for, shaken, trained_adapter
from test_adapters import saved as written

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, SeveralErrors
from llama_factory.model import adapters, fingerprint, gated, load, lora, norm
from llama_factory.model.lora import FusedLinear
from llama_factory.model.methods import Start
from llama_factory.model.methods.directions import strongest
from llama_factory.model.methods.lora import TRAINED


def on_top(base: Path, below: list[Path], *, fused: bool = False, **given: Any) -> adapters.Attached:
    model = load.load(base, dtype="float32")
    run = run_for(base, lora_rank=3, lora_alpha=5, **given)
    attached = adapters.attach(model, run.method, Start("float32", 11, fused))
    return adapters.open_beneath(attached, below, base, method="lora", fused=fused)


@pytest.fixture
def two(tiny_model: Path, tmp_path: Path) -> list[Path]:
    one = trained_adapter(tiny_model, tmp_path / "one", 1)
    other = trained_adapter(tiny_model, tmp_path / "two", 2, lora_target="q_proj,down_proj", lora_alpha=16)
    return [one, other]


def saved(base: Path, module: Any, folder: Path, below: list[Path], **given: Any) -> Path:
    run = run_for(base, lora_rank=3, lora_alpha=5, **given)
    return written(module, run, folder, base, 9, beneath={f"my/{one.name}": one for one in below})


@pytest.mark.parametrize("fused", [False, True])
def test_a_new_adapter_begins_as_the_sum_of_the_others_and_learns_alone(
    tiny_model: Path, two: list[Path], fused: bool
) -> None:
    below = load.load(tiny_model, dtype="float32")
    adapters.open(below, two, tiny_model)
    done = on_top(tiny_model, two, fused=fused)
    torch.testing.assert_close(logits(done.module), logits(below), rtol=0, atol=1e-5)
    assert {name.split(".")[-2] for name in done.trainable} == {TRAINED}
    assert len(done.trainable) == 28
    assert [finding.id for finding in done.said] == ["model.trainable"]


@pytest.mark.parametrize("fused", [False, True])
def test_the_chain_is_opened_again_exactly_as_it_was_trained(
    tiny_model: Path, tmp_path: Path, two: list[Path], fused: bool
) -> None:
    done = on_top(tiny_model, two, fused=fused)
    new = saved(tiny_model, done.module, tmp_path / "new", two)
    again = load.load(tiny_model, dtype="float32")
    adapters.open(again, [*two, new], tiny_model, fused=fused)
    assert torch.equal(logits(again), logits(done.module))
    without = load.load(tiny_model, dtype="float32")
    adapters.open(without, two, tiny_model)
    assert float((logits(again) - logits(without)).abs().max()) > 0.01


def test_the_last_of_several_goes_on_learning_and_the_others_stay(tiny_model: Path, two: list[Path]) -> None:
    model = load.load(tiny_model, dtype="float32")
    done = adapters.open(model, two, tiny_model, trainable=True)
    assert len(done.trainable) == 8  # q_proj and down_proj of two layers
    assert {name.split(".")[-2] for name in done.trainable} == {TRAINED}


@pytest.mark.parametrize("given", [[2], [0, 2], [1, 2]])
def test_an_adapter_without_those_it_was_trained_on_is_refused_with_what_to_write(
    tiny_model: Path, tmp_path: Path, two: list[Path], given: list[int]
) -> None:
    new = saved(tiny_model, on_top(tiny_model, two).module, tmp_path / "new", two)
    listed = [[*two, new][number] for number in given]
    for trainable in (False, True):
        with pytest.raises(InputError) as caught:
            adapters.open(load.load(tiny_model, dtype="float32"), listed, tiny_model, trainable=trainable)
        assert caught.value.id == "model.adapter-needs-others"
        assert f"adapter_name_or_path: my/one,my/two,{new}" in caught.value.letter()


def test_another_adapter_of_the_same_name_is_not_the_one_beneath(
    tiny_model: Path, tmp_path: Path, two: list[Path]
) -> None:
    new = saved(tiny_model, on_top(tiny_model, two).module, tmp_path / "new", two)
    file = two[0] / adapters.ADAPTER_CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lora_alpha": 64}))
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), [*two, new], tiny_model)
    assert caught.value.id == "model.adapter-needs-others"


def test_a_note_of_an_earlier_release_says_nothing_of_others(tiny_model: Path, two: list[Path]) -> None:
    file = two[0] / fingerprint.NOTE
    said = json.loads(file.read_text())
    del said["beneath"]
    file.write_text(json.dumps(said))
    assert fingerprint.read(two[0]).beneath == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [{"use_dora": True}, {"additional_target": "norm"}])
def test_what_does_not_add_up_is_refused_beside_others(
    tiny_model: Path, tmp_path: Path, two: list[Path], given: dict[str, Any]
) -> None:
    odd = trained_adapter(tiny_model, tmp_path / "odd", 3, **given)
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), [two[0], odd], tiny_model)
    assert caught.value.id == "model.adapter-does-not-add"
    with pytest.raises(InputError) as caught:
        on_top(tiny_model, [odd])
    assert caught.value.id == "model.adapter-does-not-add"
    with pytest.raises((InputError, SeveralErrors), match="create_new_adapter"):
        from_mapping({"adapter_name_or_path": "a", "create_new_adapter": True, **given}, "here")


def test_layers_of_a_chain_compute_in_one_piece_with_the_gradients_of_peft(tiny_model: Path, two: list[Path]) -> None:
    gradients = []
    for fused in (True, False):
        model: Any = on_top(tiny_model, two, fused=fused).module.train()
        shaken(model, 4)
        if fused:
            norm.replace(model)
            assert gated.replace(model) == 2
            assert lora.join(model) == 2
            assert all(layer._at_work(torch.zeros(1, 1)) for layer in model.modules() if isinstance(layer, FusedLinear))
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], value, rtol=0, atol=1e-5 * float(value.abs().max()))


# ---- PiSSA


@pytest.mark.parametrize("shape", [(20, 12), (12, 20)])
@pytest.mark.parametrize("rounds", [-1, 16])
def test_the_strongest_directions_are_those_of_the_decomposition(shape: tuple[int, int], rounds: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, right = strongest(weight, 3, rounds, torch.Generator().manual_seed(1), key="pissa_init")
    u, s, vh = torch.linalg.svd(weight)
    torch.testing.assert_close(left @ right, u[:, :3] * s[:3] @ vh[:3], rtol=0, atol=1e-8)
    torch.testing.assert_close((left**2).sum(0), s[:3], rtol=0, atol=1e-8)


@pytest.mark.parametrize("rounds", [-1, 16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fused", [False, True])
def test_pissa_begins_as_the_base_with_matrices_that_are_not_zero(
    tiny_model: Path, rounds: int, dtype: str, fused: bool
) -> None:
    model = load.load(tiny_model, dtype=dtype)
    base = logits(model)
    run = run_for(tiny_model, lora_rank=4, pissa_init=True, pissa_iter=rounds)
    done = adapters.attach(model, run.method, Start(dtype, 7, fused))
    close = 1e-5 if dtype == "float32" else 2**-6 * float(base.abs().max())
    torch.testing.assert_close(logits(model), base, rtol=0, atol=close)
    assert len(done.trainable) == 28
    assert all(bool(model.get_parameter(name).any()) for name in done.trainable)
    with adapters.switched_off(model):
        assert torch.equal(logits(model), base)
    if fused:
        assert all(layer._at_work(torch.zeros(1, 1, dtype=getattr(torch, dtype)))
                   for layer in model.modules() if isinstance(layer, FusedLinear))  # fmt: skip


def test_pissa_starts_where_peft_does(tiny_model: Path) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    ours: Any = load.load(tiny_model, dtype="float32")
    done = attach(ours, tiny_model, lora_rank=4, pissa_init=True, pissa_iter=-1)
    theirs: Any = load.load(tiny_model, dtype="float32")
    inject_adapter_in_model(
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa"), theirs
    )
    for name in done.trainable:
        if ".lora_B." in name:
            other = name.replace(".lora_B.", ".lora_A.")
            mine = ours.get_parameter(name) @ ours.get_parameter(other)
            expected = theirs.get_parameter(name) @ theirs.get_parameter(other)
            torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", [{}, {"lora_dropout": 0.5}, {"additional_target": "norm"}])
def test_the_result_of_pissa_is_an_ordinary_adapter_on_the_base_as_published(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    from peft import PeftModel

    trained: Any = load.load(tiny_model, dtype="float32")
    attach(trained, tiny_model, 0, lora_rank=4, pissa_init=True, **given)
    shaken(trained)
    folder = trained_adapter(tiny_model, tmp_path / "adapter", pissa_init=True, **given)
    said = json.loads((folder / adapters.ADAPTER_CONFIG).read_text())
    assert (said["r"], said["lora_alpha"], said["init_lora_weights"]) == (8, 16, True)
    assert {value.shape[0] for key, value in load_file(folder / adapters.ADAPTER_WEIGHTS).items() if "_A" in key} == {8}
    ours = load.load(tiny_model, dtype="float32")
    adapters.open(ours, folder, tiny_model)
    torch.testing.assert_close(logits(ours), logits(trained), rtol=0, atol=1e-5)
    theirs = PeftModel.from_pretrained(load.load(tiny_model, dtype="float32"), str(folder))
    torch.testing.assert_close(logits(theirs), logits(trained), rtol=0, atol=1e-5)
    assert float((logits(trained) - logits(load.load(tiny_model, dtype="float32"))).abs().max()) > 0.01


def test_what_pissa_saved_is_put_back_into_what_is_trained(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter", pissa_init=True)
    model = load.load(tiny_model, dtype="float32")
    attach(model, tiny_model, 0, lora_rank=4, pissa_init=True)
    shaken(model, 5)
    adapters.put_back(model, folder)
    again = load.load(tiny_model, dtype="float32")
    adapters.open(again, folder, tiny_model)
    torch.testing.assert_close(logits(model), logits(again), rtol=0, atol=1e-5)


def test_pissa_goes_on_top_of_others_too(tiny_model: Path, tmp_path: Path, two: list[Path]) -> None:
    done = on_top(tiny_model, two, pissa_init=True)
    new = saved(tiny_model, done.module, tmp_path / "new", two, pissa_init=True)
    again = load.load(tiny_model, dtype="float32")
    adapters.open(again, [*two, new], tiny_model)
    torch.testing.assert_close(logits(again), logits(done.module), rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_start_of_pissa(tiny_model: Path) -> None:
    starts = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = load.load(tiny_model, dtype="float32")
        attach(model, tiny_model, 3, lora_rank=4, pissa_init=True)
        starts.append({name: value.detach().clone() for name, value in model.named_parameters() if ".lora_" in name})
    assert len(starts[0]) == 56
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ({"lora_target": "embed_tokens,q_proj"}, "model.pissa-not-here"),
        ({"lora_rank": 1000}, "model.rank-beyond-weight"),
        ({"use_dora": True}, "config.pissa-alone"),
        ({"use_rslora": True}, "config.pissa-alone"),
    ],
)
def test_what_pissa_cannot_begin_from_is_a_letter(tiny_model: Path, given: dict[str, Any], id: str) -> None:
    with pytest.raises(InputError) as caught:
        attach(load.load(tiny_model, dtype="float32"), tiny_model, pissa_init=True, **given)
    assert caught.value.id == id
    assert "\n\n" not in caught.value.letter("zh")


def test_keys_without_effect_are_said() -> None:
    run = from_mapping({"pissa_convert": True, "pissa_init": True}, "here")
    assert [finding.id for finding in run.notices] == ["config.idle-always-converted"]
    for given in ({"pissa_iter": 4}, {"create_new_adapter": True}):
        (found,) = from_mapping(given, "here").notices
        assert found.id == "config.unused-key"
