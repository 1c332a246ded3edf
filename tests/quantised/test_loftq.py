"""LoftQ on the real model: it starts nearer to the model as published than QLoRA does, and ends on the base it had."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_bases import plain_base
from safetensors import safe_open
from some_steps import Trained, logits_of
from torch import Tensor, nn

from llama_factory.config import Run, from_mapping
from llama_factory.errors import LlamaFactoryError
from llama_factory.model import adapters, load
from llama_factory.model.methods import Start
from llama_factory.model.quantised import guards, layers, plain
from llama_factory.model.quantised.asked import asked_by, rounded_base

Train = Callable[..., Trained]

pytestmark = [pytest.mark.real]

WIDTHS: dict[str, dict[str, Any]] = {
    "bitsandbytes 8": {"quantization_bit": 8},
    "bitsandbytes 4": {"quantization_bit": 4},
    "fp4, scales whole": {"quantization_bit": 4, "quantization_type": "fp4", "double_quantization": False},
    "hqq 3": {"quantization_bit": 3},
    "hqq 2": {"quantization_bit": 2},
}


def run_of(folder: Path, **keys: Any) -> Run:
    given = {"model_name_or_path": str(folder), "lora_rank": 8, "quantization_bit": 4, "loftq_init": True, **keys}
    return from_mapping(given, "here")


def quantised(folder: Path, run: Run, dtype: str = "float32") -> nn.Module:
    model = load.load(folder, dtype=dtype, quantise=asked_by(run))
    guards.keep_gradients(model)  # as training does: the other way of 4 bits computes in bfloat16
    return model


def begun(folder: Path, dtype: str = "float32", **keys: Any) -> adapters.Attached:
    run = run_of(folder, **keys)
    model = quantised(folder, run, dtype)
    return adapters.attach(model, run.method, Start(dtype, 3, False, folder))


@torch.no_grad()
def logprobs(model: nn.Module, ids_NT: Tensor) -> Tensor:
    logprob_TV: Tensor = model.eval()(input_ids=ids_NT).logits[0].float().log_softmax(-1)
    return logprob_TV


def rests(module: nn.Module, folder: Path) -> dict[str, tuple[float, float]]:
    """By layer: how far its quantised weight is from the original without the adapter and with it."""
    found = {}
    with safe_open(folder / "model.safetensors", framework="pt") as opened, torch.no_grad():
        for name, layer in module.named_modules():
            if "default" in getattr(layer, "lora_A", {}):
                rest = opened.get_tensor(f"{name}.weight").float() - plain.weight_of(layer.base_layer).float()
                found[name] = (float(rest.norm()), float((rest - change(layer)).norm()))
    return found


def change(layer: Any) -> Tensor:
    return layer.scaling["default"] * layer.lora_B["default"].weight.float() @ layer.lora_A["default"].weight.float()


@pytest.mark.parametrize("keys", WIDTHS.values(), ids=WIDTHS)
def test_every_layer_begins_nearer_to_its_original_weight(shallow: Path, keys: dict[str, Any]) -> None:
    done = begun(shallow, **keys)
    found = rests(done.module, shallow)
    assert len(found) == 42
    assert all(after < 0.995 * before for before, after in found.values()), found
    (told,) = [finding for finding in done.said if finding.id == "model.loftq-begun"]
    assert told.values["layers"] == 42
    assert float(told.values["after"]) < float(told.values["before"])


def test_the_first_loss_is_nearer_to_that_of_the_model_as_published(real_model: Path) -> None:
    from transformers import AutoTokenizer

    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    ids_NT = AutoTokenizer.from_pretrained(real_model)(text, return_tensors="pt")["input_ids"][:, :512]
    published_TV = logprobs(load.load(real_model, dtype="float32"), ids_NT)

    def seen(logprob_TV: Tensor) -> tuple[float, float]:
        """The loss, and the divergence from the model as published."""
        loss = -logprob_TV[:-1].gather(1, ids_NT[0, 1:, None]).mean()
        return float(loss), float((published_TV.exp() * (published_TV - logprob_TV)).sum(-1).mean())

    loss, _ = seen(published_TV)
    plainly, with_loftq = (
        seen(logprobs(begun(real_model, lora_rank=64, loftq_init=init).module, ids_NT)) for init in (False, True)
    )
    assert plainly[0] - loss > 0.05
    assert abs(with_loftq[0] - loss) < 0.97 * (plainly[0] - loss), (loss, plainly, with_loftq)
    assert with_loftq[1] < 0.85 * plainly[1], (plainly, with_loftq)


@pytest.mark.parametrize("rank", [4, 16])
def test_the_start_is_the_one_that_peft_finds(shallow: Path, rank: int) -> None:
    """peft's function for a whole model wants a GPU, and leaves the scale out: here alpha is the rank."""
    from peft.utils.loftq_utils import _low_rank_decomposition

    done = begun(shallow, lora_rank=rank, lora_alpha=rank, lora_target="q_proj,down_proj")
    count = 0
    with safe_open(shallow / "model.safetensors", framework="pt") as opened:
        for name, layer in done.module.named_modules():
            if "default" in getattr(layer, "lora_A", {}):
                rest = opened.get_tensor(f"{name}.weight").float() - plain.weight_of(layer.base_layer).float()
                best = _low_rank_decomposition(rest, reduced_rank=rank)
                theirs, ours = (float((rest - one).norm()) for one in (best["L"] @ best["R"], change(layer).detach()))
                assert theirs <= ours * (1 + 1e-6)
                assert ours < theirs + 0.06 * (float(rest.norm()) - theirs)
                count += 1
    assert count == 12


@pytest.mark.parametrize("keys", [{"use_rslora": True}, {"lora_alpha": 3}, {"use_dora": True}])
def test_the_scale_of_lora_is_in_the_start(shallow: Path, keys: dict[str, Any]) -> None:
    one, other = begun(shallow), begun(shallow, **keys)
    torch.testing.assert_close(logits_of(other.module), logits_of(one.module), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("keys", WIDTHS.values(), ids=WIDTHS)
def test_a_weight_is_to_the_bit_what_its_layer_multiplies_with(shallow: Path, keys: dict[str, Any]) -> None:
    model = quantised(shallow, run_of(shallow, **keys))
    layer = model.get_submodule("model.layers.2.mlp.down_proj")
    before = plain.weight_of(layer)
    with torch.no_grad():
        given_OI = layer(torch.eye(before.shape[1])).t()
    near = {"rtol": 1e-2, "atol": 1e-6} if keys["quantization_bit"] == 8 else {"rtol": 0.0, "atol": 0.0}
    torch.testing.assert_close(given_OI, before, **near)  # in 8 bits what it reads is rounded too
    assert torch.equal(plain.weight_of(layer), before)  # after a forward too


RESULTS: dict[str, dict[str, Any]] = {
    "bitsandbytes 4": {"quantization_bit": 4},
    "hqq 2, rslora": {"quantization_bit": 2, "use_rslora": True, "lora_target": "q_proj,v_proj"},
    "dora": {"quantization_bit": 4, "use_dora": True, "double_quantization": False},
}
EXPORTED = ("hqq 2, rslora",)
"""That of bitsandbytes is exported below, beneath another adapter."""


@pytest.mark.parametrize("name", RESULTS)
def test_what_is_trained_is_the_same_in_plain_peft_and_in_what_is_exported(
    trained: Train, shallow: Path, tmp_path: Path, name: str
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from llama_factory.export.flow import export_model

    keys = RESULTS[name]
    done = trained(model=shallow, bf16=False, lora_rank=4, loftq_init=True, **keys)
    note = json.loads((done.folder / "llama_factory.json").read_text(encoding="utf-8"))["method"]
    assert (note["loftq_init"], note["quantised_from"]) == (True, "float32")
    (off,) = note["quantised_off"].values()
    assert off == pytest.approx({4: 0.1, 2: 0.45}[keys["quantization_bit"]], rel=0.1)
    assert json.loads((done.folder / "adapter_config.json").read_text())["init_lora_weights"] is True

    method = "bitsandbytes" if keys["quantization_bit"] == 4 else "hqq"
    base = plain_base(shallow, keys["quantization_bit"], method, double=keys.get("double_quantization", True))
    again = logits_of(PeftModel.from_pretrained(base, done.folder))
    torch.testing.assert_close(again, done.logits, rtol=1e-4, atol=1e-3)

    if name not in EXPORTED:
        return
    said: list[str] = []
    given = {"model_name_or_path": str(shallow), "adapter_name_or_path": str(done.folder), "export_dir": "merged"}
    export_model(from_mapping(given, "here"), said.append)
    assert any("began with LoftQ" in line for line in said)
    merged = logits_of(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32))
    torch.testing.assert_close(merged, done.logits, rtol=1e-4, atol=1e-3)
    published = AutoModelForCausalLM.from_pretrained(shallow, dtype=torch.float32)
    elsewhere = logits_of(PeftModel.from_pretrained(published, done.folder))
    assert float((elsewhere - done.logits).abs().max()) > 0.05  # the base as published is another base


@pytest.mark.parametrize("bits", [8, 4])
def test_layers_that_lie_the_other_way_round_begin_and_are_plain_again_too(tmp_path: Path, bits: int) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    small = {"n_embd": 128, "n_layer": 2, "n_head": 4, "vocab_size": 600, "bos_token_id": 1, "eos_token_id": 2}
    GPT2LMHeadModel(GPT2Config(**small)).save_pretrained(tmp_path)
    (told, *_) = begun(tmp_path, quantization_bit=bits).said
    assert (told.id, told.values["layers"]) == ("model.loftq-begun", 8)
    few, here = quantised(tmp_path, run_of(tmp_path, quantization_bit=bits)), load.load(tmp_path, dtype="float32")
    before = logits_of_ids(here)
    plain.put_into(here, few)
    off, noise = (float((logits_of_ids(few) - one).abs().max()) for one in (before, logits_of_ids(here)))
    assert noise < (0.9 if bits == 8 else 1e-4) * off  # in 8 bits what a layer reads is rounded too


@torch.no_grad()
def logits_of_ids(model: nn.Module) -> Tensor:
    logits_TV: Tensor = model.eval()(input_ids=torch.arange(24)[None]).logits[0]
    return logits_TV


FEW: dict[str, Any] = {"bf16": False, "quantization_bit": 4, "lora_rank": 4}


def test_a_resumed_run_ends_with_the_bytes_of_the_run_left_alone(trained: Train, shallow: Path, tmp_path: Path) -> None:
    keys = {**FEW, "model": shallow, "loftq_init": True, "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = trained(output_dir="whole", **keys)
    (tmp_path / "again").mkdir()
    shutil.copytree(whole.folder / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    again = trained(output_dir="again", resume_from_checkpoint=True, **keys)
    one, other = ((done.folder / "adapter_model.safetensors").read_bytes() for done in (whole, again))
    assert one == other


def test_it_is_trained_further_beneath_another_asked_and_exported_on_its_own_base_alone(
    trained: Train, shallow: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from llama_factory.export.flow import export_model
    from llama_factory.recipes.answering import answerer_of

    first = trained(model=shallow, output_dir="first", loftq_init=True, **FEW)
    given = {"model": shallow, "adapter_name_or_path": "first", **FEW}
    further = trained(output_dir="further", loftq_init=True, **given)
    top = trained(output_dir="top", create_new_adapter=True, **given)
    noted = (json.loads((done.folder / "llama_factory.json").read_text())["method"] for done in (further, top))
    assert [method["loftq_init"] for method in noted] == [True, False]
    assert further.losses[0] < first.losses[0]

    export_model(from_mapping({"model_name_or_path": str(shallow), "adapter_name_or_path": "first,top",
                               "export_dir": "merged"}, "here"), lambda line: None)  # fmt: skip
    merged = logits_of(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32))
    torch.testing.assert_close(merged, top.logits, rtol=1e-4, atol=1e-3)

    for bits in ({}, {"quantization_bit": 8}, {"quantization_bit": 4, "quantization_method": "hqq"}):
        with pytest.raises(LlamaFactoryError) as caught:
            trained(output_dir="wrong", **{**given, "quantization_bit": None, **bits})
        assert caught.value.id == "model.loftq-other-base"
        keys = {"model_name_or_path": str(shallow), "adapter_name_or_path": "first", **bits}
        with pytest.raises(LlamaFactoryError) as caught:
            answerer_of(from_mapping(keys, "here"), lambda line: None, "en")
        assert caught.value.id == "model.loftq-other-base"
    keys = {"model_name_or_path": str(shallow), "adapter_name_or_path": "further", "infer_dtype": "float32"}
    answerer = answerer_of(from_mapping({**keys, "quantization_bit": 4}, "here"), lambda line: None, "en")
    guards.keep_gradients(answerer.engine._model)
    torch.testing.assert_close(logits_of(answerer.engine._model), further.logits, rtol=1e-4, atol=1e-3)


def test_a_base_that_was_quantised_from_bfloat16_is_made_so_again(
    trained: Train, shallow: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    base = tmp_path / "base"
    shutil.copytree(shallow, base)
    values = load_file(base / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for value in values.values():  # numbers that bfloat16 does not have
        value *= 1 + 0.01 * torch.randn(value.shape, generator=generator)
    save_file(values, base / "model.safetensors", metadata={"format": "pt"})
    done = trained(model=base, bf16=True, quantization_bit=4, loftq_init=True, lora_target="q_proj", max_steps=1)
    rounded = rounded_base([done.folder])
    assert rounded is not None
    assert rounded.dtype == "bfloat16"
    trained_on = {f"{name.removesuffix('.base_layer')}.weight": plain.weight_of(layer).float()
                  for name, layer in layers.quantised(done.module).items()}  # fmt: skip
    for dtype, same in ((rounded.dtype, True), ("float32", False)):
        here = load.load(base, dtype="float32")
        names = plain.put_into(here, load.load(base, dtype=dtype, quantise=rounded.asked))
        own = dict(here.named_parameters())
        assert sorted(trained_on) == sorted(names)
        assert all(torch.equal(own[name], value) for name, value in trained_on.items()) is same


def test_a_check_makes_one_step_of_it_and_opens_it_again(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from some_steps import ROWS, SMALL

    from llama_factory.recipes.check import check

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    keys = {**SMALL, **FEW, "model_name_or_path": str(shallow), "loftq_init": True}
    report = check(lambda: from_mapping(keys, "here"), cache=tmp_path / "cache", step=lambda stage: None)
    assert report.exit_code == 0, report.findings
    assert report.trial is not None
    assert report.trial.difference <= 1e-3
