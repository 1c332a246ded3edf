"""What training made is in the files, exactly, and other programs read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from llama_factory.config import Run, from_mapping
from llama_factory.errors import ProofError
from llama_factory.model import adapters, fingerprint, load, save, weights
from llama_factory.model.methods import Start

IDS = torch.arange(3, 30)[None]


def trained(base: Path, folder: Path, dtype: str, **given: Any) -> tuple[Any, dict[str, torch.Tensor], Run]:
    """A module as it stands after training in `dtype`, with its fp32 masters, saved into `folder`."""
    run = from_mapping({"model_name_or_path": str(base), "stage": "sft", **given}, "a test")
    model: Any = load.load(base, dtype=dtype)
    adapters.attach(model, run.method, Start(dtype, 3))
    generator = torch.Generator().manual_seed(5)
    masters = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                masters[name] = parameter.float() + torch.randn(parameter.shape, generator=generator) * 0.05
                parameter.copy_(masters[name])
    folder.mkdir()
    write(model, masters, run, folder, base)
    return model, masters, run


def write(model: Any, masters: dict[str, torch.Tensor], run: Run, folder: Path, base: Path) -> None:
    save.trained_files(
        model, masters, run, folder, base_folder=base, template_text="{{ x }}", template_fingerprint="abc"
    )


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(IDS).logits
    return out


def test_the_adapter_file_holds_the_masters_and_not_their_rounded_copies(tiny_model: Path, tmp_path: Path) -> None:
    _, masters, _ = trained(tiny_model, tmp_path / "out", "bfloat16", finetuning_type="lora", lora_rank=4)
    held = load_file(tmp_path / "out" / adapters.ADAPTER_WEIGHTS)
    assert {value.dtype for value in held.values()} == {torch.float32}
    for name, master in masters.items():
        assert torch.equal(held["base_model.model." + name.replace(".default.", ".")], master)
    assert len(held) == len(masters) == 28


def test_plain_peft_reads_the_adapter(tiny_model: Path, tmp_path: Path) -> None:
    model, _, _ = trained(
        tiny_model, tmp_path / "out", "float32", finetuning_type="lora", lora_target="q_proj,mlp.up_proj"
    )
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    assert torch.equal(logits(PeftModel.from_pretrained(plain, str(tmp_path / "out"))), logits(model))


def test_the_note_knows_the_base_the_template_and_the_method(tiny_model: Path, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "out", "float32", finetuning_type="lora", lora_rank=4)
    born = fingerprint.read(tmp_path / "out")
    assert born is not None
    assert (born.base, born.template, born.template_fingerprint) == (str(tiny_model), "{{ x }}", "abc")
    assert born.base_weights == fingerprint.weights(tiny_model)
    assert (born.method["finetuning_type"], born.method["lora_rank"]) == ("lora", 4)
    assert born.versions["torch"] == torch.__version__
    config = json.loads((tmp_path / "out" / adapters.ADAPTER_CONFIG).read_text())
    assert config["base_model_name_or_path"] == str(tiny_model)
    assert config["inference_mode"] is True


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["full", "freeze"])
def test_a_trained_model_is_read_by_plain_transformers(tiny_model: Path, tmp_path: Path, kind: str, dtype: str) -> None:
    model, _, _ = trained(tiny_model, tmp_path / "out", dtype, finetuning_type=kind)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.dtype == getattr(torch, dtype)
    assert torch.equal(logits(again), logits(model))
    assert set(weights.entries(tmp_path / "out")) == set(weights.entries(tiny_model))
    beside = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", fingerprint.NOTE} <= beside


def test_tied_weights_are_written_once_and_stay_tied(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    said = json.loads((base / "config.json").read_text()) | {"tie_word_embeddings": True}
    (base / "config.json").write_text(json.dumps(said))
    held = load_file(base / weights.SINGLE)
    held.pop("lm_head.weight")
    weights.save(held, base / weights.SINGLE)
    model, _, _ = trained(base, tmp_path / "out", "float32", finetuning_type="full")
    assert "lm_head.weight" not in weights.entries(tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert torch.equal(logits(again), logits(model))


def test_a_base_of_shards_and_stacked_experts_keeps_its_names(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    base = tmp_path / "base"
    MixtralForCausalLM(config).save_pretrained(base, max_shard_size="40KB")
    names = set(weights.entries(base))
    assert any(".experts.3." in name for name in names)  # one tensor an expert on disk, one for all in memory
    model, _, _ = trained(base, tmp_path / "out", "float32", finetuning_type="full")
    assert set(weights.entries(tmp_path / "out")) == names
    assert torch.equal(logits(load.load(tmp_path / "out", dtype="float32")), logits(model))


def test_a_base_without_the_prefix_of_its_class_keeps_its_names(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    base = tmp_path / "base"
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=64)).save_pretrained(base)
    held = {key.removeprefix("transformer."): value for key, value in load_file(base / weights.SINGLE).items()}
    weights.save(held, base / weights.SINGLE)
    model, _, _ = trained(base, tmp_path / "out", "float32", finetuning_type="full")
    assert set(weights.entries(tmp_path / "out")) == set(held)
    assert torch.equal(logits(load.load(tmp_path / "out", dtype="float32")), logits(model))


def test_files_of_a_run_and_other_formats_of_weights_are_not_copied(tiny_model: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    for name in ("model.gguf", "pytorch_model.bin", "trainer_log.jsonl", "MANIFEST.json", ".hidden", "LICENSE"):
        (base / name).write_text("x")
    (base / "checkpoint-5").mkdir()
    (base / "checkpoint-5" / "trainer_state.json").write_text("{}")
    (tmp_path / "out").mkdir()
    copied = save.copy_other_files(base, tmp_path / "out")
    assert {"LICENSE", "config.json", "tokenizer.json"} <= set(copied)
    assert not [name for name in copied if "checkpoint" in name or name.startswith(("MANIFEST", "trainer", "."))]
    assert not [name for name in copied if name.endswith((".gguf", ".bin", ".safetensors"))]


def test_working_weights_that_lag_behind_their_masters_are_not_saved(tiny_model: Path, tmp_path: Path) -> None:
    model, masters, run = trained(tiny_model, tmp_path / "out", "bfloat16", finetuning_type="freeze")
    name = next(iter(masters))
    masters[name] = masters[name] + 1
    (tmp_path / "again").mkdir()
    with pytest.raises(ProofError) as caught:
        write(model, masters, run, tmp_path / "again", tiny_model)
    assert (caught.value.id, caught.value.where) == ("model.weights-behind-masters", name)


def test_numbers_that_are_not_finite_are_not_saved_as_a_result(tiny_model: Path, tmp_path: Path) -> None:
    model, masters, run = trained(tiny_model, tmp_path / "out", "float32", finetuning_type="lora")
    next(iter(masters.values()))[0, 0] = float("nan")
    (tmp_path / "again").mkdir()
    with pytest.raises(ProofError) as caught:
        write(model, masters, run, tmp_path / "again", tiny_model)
    assert caught.value.id == "model.not-finite"


def test_the_same_training_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained(tiny_model, tmp_path / name, "float32", finetuning_type="lora")
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_one_number_that_is_none_among_many_is_seen(dtype: torch.dtype) -> None:
    for wrong in (float("nan"), float("inf"), -float("inf")):
        for at in (0, 500, 999):
            values = torch.randn(1000).to(dtype)
            assert save._finite(values)
            values[at] = wrong
            assert not save._finite(values)
    assert save._finite(torch.zeros(0, dtype=dtype))
