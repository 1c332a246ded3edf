"""LoftQ on the real model: it starts nearer to the model as published than QLoRA does, and ends on the base it had."""

from __future__ import annotations

import json
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
from llama_factory.model import adapters, load
from llama_factory.model.methods import Start
from llama_factory.model.quantised import guards, plain
from llama_factory.model.quantised.asked import asked_by

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
        seen(logprobs(begun(real_model, lora_rank=32, loftq_init=init).module, ids_NT)) for init in (False, True)
    )
    assert plainly[0] - loss > 0.05
    assert abs(with_loftq[0] - loss) < 0.9 * (plainly[0] - loss), (loss, plainly, with_loftq)
    assert with_loftq[1] < 0.9 * plainly[1], (plainly, with_loftq)


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
    torch.testing.assert_close(given_OI, before, rtol=1e-2 if keys["quantization_bit"] == 8 else 1e-6, atol=1e-6)
    assert torch.equal(plain.weight_of(layer), before)  # after a forward too


RESULTS: dict[str, dict[str, Any]] = {
    "bitsandbytes 4": {"quantization_bit": 4},
    "hqq 2, rslora": {"quantization_bit": 2, "use_rslora": True, "lora_target": "q_proj,v_proj"},
    "dora": {"quantization_bit": 4, "use_dora": True, "double_quantization": False},
}
EXPORTED = ("bitsandbytes 4", "hqq 2, rslora")


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
