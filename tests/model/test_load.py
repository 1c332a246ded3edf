"""Every way a model folder can be wrong is a short letter, and what loads is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from llama_factory.errors import LlamaFactoryError, SeveralErrors
from llama_factory.model import load, weights
from llama_factory.model.load import ARCHITECTURE
from llama_factory.records import Finding

WEIGHTS = weights.SINGLE
ONE = "model.layers.0.mlp.up_proj.weight"


def config(folder: Path, **changes: Any) -> None:
    said = json.loads((folder / "config.json").read_text())
    said |= changes
    kept = {key: value for key, value in said.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    held = load_file(folder / WEIGHTS)
    change(held)
    save_file(held, folder / WEIGHTS, metadata={"format": "pt"})


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def only(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / WEIGHTS).rename(folder / name) and None


def an_adapter(folder: Path) -> None:
    no_weights(folder)
    (folder / "adapter_config.json").write_text("{}")


def cut_off(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def index(content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        no_weights(folder)
        (folder / weights.INDEX).write_text(content)

    return write


def a_pointer(folder: Path) -> None:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text)


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (no_weights, "model.no-weights"),
    "no config.json": (lambda folder: (folder / "config.json").unlink(), "model.no-config"),
    "config.json is not JSON": (lambda folder: (folder / "config.json").write_text("{,"), "model.broken-config"),
    "config.json is a list": (lambda folder: (folder / "config.json").write_text("[1]"), "model.broken-config"),
    "config.json with a wrong value": (lambda folder: config(folder, hidden_size="wide"), "model.broken-config"),
    "only .bin": (only("pytorch_model.bin"), "model.pickled-weights"),
    "only .pt": (only("consolidated.00.pt"), "model.pickled-weights"),
    "only .gguf": (only("tiny.gguf"), "model.gguf-only"),
    "an adapter": (an_adapter, "model.adapter-not-model"),
    "a download cut off": (cut_off, "model.truncated"),
    "an empty file": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "model.truncated"),
    "a text in place of weights": (lambda folder: (folder / WEIGHTS).write_text("<html>" * 99), "model.truncated"),
    "a pointer in place of weights": (a_pointer, "model.not-safetensors"),
    "a missing shard": (index('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'), "model.missing-shard"),
    "an index that is not JSON": (index("nope"), "model.broken-index"),
    "an index without a table": (index("[]"), "model.broken-index"),
    "no model_type": (lambda folder: config(folder, model_type=None), "model.no-model-type"),
    "an unknown model_type": (lambda folder: config(folder, model_type="lama"), "model.unknown-type"),
    "an encoder": (lambda folder: config(folder, model_type="vit", architectures=None), "model.not-causal"),
    "code of its own": (
        lambda folder: config(folder, model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
        "model.needs-own-code",
    ),
    "quantised": (lambda folder: config(folder, quantization_config={"quant_method": "fp8"}), "model.quantised"),
    "quantised in name alone": (
        lambda folder: config(folder, quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 32}),
        "model.quantised-broken",
    ),
    "a weight missing": (lambda folder: tensors(folder, lambda held: held.pop(ONE)), "model.missing-weights"),
    "a weight of another shape": (
        lambda folder: tensors(folder, lambda held: held.update({ONE: torch.zeros(3, 3)})),
        "model.other-shapes",
    ),
    "fewer layers than weights say": (lambda folder: config(folder, num_hidden_layers=3), "model.missing-weights"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_a_letter_in_two_languages(what: str, tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    breaks, id = BROKEN[what]
    breaks(folder)
    with pytest.raises(LlamaFactoryError) as caught:
        load.load(folder, dtype="float32")
    assert (caught.value.id, caught.value.exit_code) == (id, 2)
    for language in ("en", "zh"):
        words = caught.value.letter(language)
        assert str(folder) in words.splitlines()[0]
        assert 1 <= words.count("\n") <= 2
        assert "Traceback" not in words


def test_a_letter_about_an_unknown_type_names_the_nearest(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config(folder, model_type="lama")
    with pytest.raises(LlamaFactoryError, match="`llama`"):
        load.load(folder, dtype="float32")


def test_what_loads_answers_like_plain_transformers(tiny_model: Path) -> None:
    ids = torch.arange(3, 40)[None]
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = load.load(tiny_model, dtype="float32", flash_attn="auto")
    assert not model.training
    with torch.no_grad():
        assert torch.equal(model(ids).logits, plain(ids).logits)


@pytest.mark.parametrize(("asked", "found"), [("auto", "sdpa"), ("disabled", "eager"), ("eager", "eager")])
def test_attention_is_the_one_asked_for(tiny_model: Path, asked: str, found: str) -> None:
    model: Any = load.load(tiny_model, dtype="bfloat16", flash_attn=asked)
    assert model.config._attn_implementation == found
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_folder_of_shards_loads_like_one_file(tiny_model: Path, tmp_path: Path) -> None:
    whole: Any = load.load(tiny_model, dtype="float32")
    whole.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(weights.files(tmp_path)) > 2
    again = load.load(tmp_path, dtype="float32")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_weights_that_nobody_uses_are_said(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    tensors(folder, lambda held: held.update({"extra.head.weight": torch.zeros(2)}))
    said: list[Finding] = []
    load.load(folder, dtype="float32", say=said.append)
    assert [finding.id for finding in said] == ["model.unused-weights"]
    assert said[0].values["found"] == "extra.head.weight"


def test_loading_is_silent(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load.load(tiny_model, dtype="float32")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def section(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**dict.fromkeys(ARCHITECTURE), **{}) if not given else SimpleNamespace(
        **(dict.fromkeys(ARCHITECTURE) | given)
    )  # fmt: skip


def test_architecture_keys_that_say_what_the_model_is_are_accepted(tiny_model: Path) -> None:
    own = AutoConfig.from_pretrained(tiny_model)
    load.compare_architecture(section(), own)
    load.compare_architecture(
        section(model_type="llama", hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, intermediate_size=64, head_dim=8), own
    )  # fmt: skip


def test_architecture_keys_that_differ_are_refused_all_at_once(tiny_model: Path) -> None:
    own = AutoConfig.from_pretrained(tiny_model)
    with pytest.raises(SeveralErrors) as caught:
        load.compare_architecture(section(model_type="hunyuan_v1_dense", hidden_size=2048, head_dim=8), own)
    assert [error.values["key"] for error in caught.value.errors] == ["model_type", "hidden_size"]
    assert "`hidden_size: 2048`" in caught.value.letter()
    assert "32" in caught.value.letter("zh")


def test_architecture_keys_are_compared_under_the_models_own_names() -> None:
    own = AutoConfig.for_model("gpt2", n_embd=24, n_head=3, n_layer=5)
    load.compare_architecture(section(hidden_size=24, num_attention_heads=3, num_hidden_layers=5, head_dim=8), own)
    with pytest.raises(LlamaFactoryError) as caught:
        load.compare_architecture(section(num_hidden_layers=6), own)
    assert caught.value.id == "model.other-architecture"


def test_the_same_keys_from_a_run_are_compared_before_anything_is_loaded(tiny_model: Path) -> None:
    from llama_factory.config import from_mapping

    run = from_mapping({"model_name_or_path": str(tiny_model), "hidden_size": 33}, "a test")
    with pytest.raises(LlamaFactoryError) as caught:
        load.load_for(run, tiny_model, dtype="float32")
    assert (caught.value.id, caught.value.values["own"]) == ("model.other-architecture", 32)
