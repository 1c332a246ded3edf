"""LoRA's variants: which layers they take, how they begin, and that what is saved is what was trained."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_adapters import LINEAR, attach, logits, run_for, shaken, trained_adapter
from transformers import Qwen2Config, Qwen2ForCausalLM

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, SeveralErrors
from llama_factory.model import adapters, load
from llama_factory.model.lora import FusedLinear
from llama_factory.model.methods import lora as method
from llama_factory.testing.tiny import tiny_model as made

VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "dora and rslora": {"use_dora": True, "use_rslora": True},
    "expression": {"lora_target": r".*\.1\..*(up|down)_proj"},
    "dropout": {"lora_dropout": 0.5},
    "a norm learns too": {"additional_target": "norm"},
    "embedding and head learn too": {"additional_target": "embed_tokens,lm_head"},
    "on the embedding": {"lora_target": "embed_tokens,q_proj"},
}


def open_in_peft(base: Path, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        return PeftModel.from_pretrained(load.load(base, dtype="float32"), str(folder))


@pytest.fixture
def tied_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with one weight for its embedding and its head."""
    config = json.loads((tiny_model / "config.json").read_text())
    model = made("llama", tie_word_embeddings=True, vocab_size=config["vocab_size"])
    model.save_pretrained(tmp_path / "tied")
    return tmp_path / "tied"


@pytest.mark.parametrize("given", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_begins_as_the_base_and_learns(tiny_model: Path, given: dict[str, Any]) -> None:
    model: Any = load.load(tiny_model, dtype="float32")
    base = logits(model)
    done = attach(model, tiny_model, lora_rank=4, **given)
    torch.testing.assert_close(logits(model), base, rtol=0, atol=1e-5)
    shaken(model)
    model.train()(torch.arange(3, 30)[None], labels=torch.arange(3, 30)[None]).loss.backward()
    graded = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert graded == set(done.trainable)


@pytest.mark.parametrize("given", VARIANTS.values(), ids=VARIANTS)
def test_what_is_saved_is_what_was_trained_here_and_in_peft(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    trained: Any = load.load(tiny_model, dtype="float32")
    attach(trained, tiny_model, 0, lora_rank=4, **given)
    shaken(trained)
    folder = trained_adapter(tiny_model, tmp_path / "adapter", **given)
    ours = load.load(tiny_model, dtype="float32")
    assert adapters.open(ours, folder, tiny_model).said == ()
    assert torch.equal(logits(ours), logits(trained))
    torch.testing.assert_close(logits(open_in_peft(tiny_model, folder)), logits(ours), rtol=0, atol=1e-5)
    assert float((logits(ours) - logits(load.load(tiny_model, dtype="float32"))).abs().max()) > 0.01


@pytest.mark.parametrize("given", VARIANTS.values(), ids=VARIANTS)
def test_switched_off_it_is_the_base_and_put_back_it_is_the_saved_one(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    base = logits(load.load(tiny_model, dtype="float32"))
    folder = trained_adapter(tiny_model, tmp_path / "adapter", **given)
    saved = load.load(tiny_model, dtype="float32")
    adapters.open(saved, folder, tiny_model)
    model = load.load(tiny_model, dtype="float32")
    done = attach(model, tiny_model, lora_rank=4, **given)
    shaken(model, seed=5)
    model.eval()
    with adapters.switched_off(model):
        assert torch.equal(logits(model), base)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(done.trainable)
    adapters.put_back(model, folder)
    assert torch.equal(logits(model), logits(saved))


@pytest.mark.parametrize("given", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_start_whatever_ran_before(
    tiny_model: Path, given: dict[str, Any], dtype: str
) -> None:
    starts = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        model = load.load(tiny_model, dtype=dtype)
        done = attach(model, tiny_model, 3, dtype, lora_rank=4, **given)
        starts.append({name: model.get_parameter(name).detach().clone() for name in done.trainable})
    assert starts[0].keys() == starts[1].keys()
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert {value.dtype for value in starts[0].values()} == {getattr(torch, dtype)}


def test_dora_starts_as_the_base_in_half_precision_too(tiny_model: Path) -> None:
    model = load.load(tiny_model, dtype="bfloat16")
    base = logits(model).float()
    attach(model, tiny_model, dtype="bfloat16", use_dora=True)
    torch.testing.assert_close(logits(model).float(), base, rtol=0, atol=float(base.abs().max()) * 2**-7)


def test_the_scale_of_rslora_is_alpha_over_the_root_of_the_rank(tiny_model: Path) -> None:
    model = load.load(tiny_model, dtype="float32")
    attach(model, tiny_model, lora_rank=16, lora_alpha=8, use_rslora=True)
    assert set(adapters.strengths(model).values()) == {8 / math.sqrt(16)}


def test_dropout_is_at_work_in_training_alone(tiny_model: Path) -> None:
    model = load.load(tiny_model, dtype="float32")
    attach(model, tiny_model, lora_rank=4, lora_dropout=0.5)
    shaken(model)
    assert torch.equal(logits(model.eval()), logits(model))
    torch.manual_seed(0)
    assert not torch.equal(logits(model.train()), logits(model))


# ---- which layers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (r".*\.(q|v)_proj", {f"model.layers.{n}.self_attn.{x}_proj" for n in (0, 1) for x in "qv"}),
        (r"model\.layers\.1\..*", {f"model.layers.1.{'mlp' if x in LINEAR[4:] else 'self_attn'}.{x}" for x in LINEAR}),
        (r".*\.[0-9]{1,2}\.mlp\.up_proj", {"model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"}),
    ],
)
def test_an_expression_means_the_linear_layers_whose_whole_name_it_matches(
    tiny_model: Path, written: str, expected: set[str]
) -> None:
    for given in (written, [written]):
        done = attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target=given)
        assert {name.rpartition(".lora_")[0] for name in done.trainable} == expected


@pytest.mark.parametrize(
    ("written", "id"),
    [
        ("(q|v)_proj", "model.pattern-means-nothing"),
        (".*embed_tokens", "model.pattern-means-nothing"),
        (".*", "model.pattern-means-head"),
        ("lm_(head|tail)", "model.pattern-means-head"),
        (".*(q_proj", "model.broken-pattern"),
        (["q_proj", ".*v_proj"], "model.pattern-among-others"),
    ],
)
def test_an_expression_that_cannot_be_meant_is_a_letter(tiny_model: Path, written: Any, id: str) -> None:
    with pytest.raises(InputError) as caught:
        attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target=written)
    assert (caught.value.id, caught.value.where) == (id, "lora_target")
    assert "\n\n" not in caught.value.letter("zh")


def test_lora_on_an_embedding_has_a_rate_of_its_own(tiny_model: Path) -> None:
    run = run_for(
        tiny_model, lora_target="embed_tokens,q_proj", loraplus_lr_ratio=16, loraplus_lr_embedding=1e-5,
        learning_rate=1e-4, use_dora=True,
    )  # fmt: skip
    model = load.load(tiny_model, dtype="float32")
    done = attach(model, tiny_model, lora_target="embed_tokens,q_proj", use_dora=True)
    factors = method.rate_factors(model, run.method.lora, 1e-4)
    kinds = {name.split(".lora_")[1].split(".")[0]: factors.get(name, 1.0) for name in done.trainable} | {
        "embedding": factors["model.embed_tokens.lora_embedding_A.default"]
    }
    assert kinds["A"] == 1.0
    assert kinds["B"] == kinds["magnitude_vector"] == 16
    assert kinds["embedding"] == pytest.approx(0.1)
    assert method.rate_factors(model, run_for(tiny_model).method.lora, 1e-4) == {}


# ---- modules that learn whole


def test_what_learns_whole_is_named_by_its_end_and_nothing_else_is_meant(tiny_model: Path) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target="q_proj", additional_target="norm")
    assert {name for name in done.trainable if "lora" not in name} == {"model.norm.modules_to_save.default.weight"}


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ({"additional_target": "lm_heat"}, "model.no-such-module"),
        ({"additional_target": "q_proj"}, "model.adapted-and-whole"),
        ({"additional_target": "mlp"}, "model.adapted-and-whole"),
        ({"lora_bias": "lora_only"}, "model.no-bias-to-learn"),
    ],
)
def test_what_cannot_be_merged_or_meant_is_refused_before_anything_is_loaded(
    tiny_model: Path, given: dict[str, Any], id: str
) -> None:
    for act in (
        lambda: attach(load.load(tiny_model, dtype="float32"), tiny_model, **given),
        lambda: adapters.look(load.skeleton(tiny_model), run_for(tiny_model, **given).method),
    ):
        with pytest.raises(InputError) as caught:
            act()
        assert caught.value.id == id
        assert "\n\n" not in caught.value.letter("zh")


@pytest.mark.parametrize("named", ["embed_tokens", "lm_head", "embed_tokens,lm_head"])
def test_tied_weights_learn_as_one_are_saved_under_both_names_and_come_back_tied(
    tied_model: Path, tmp_path: Path, named: str
) -> None:
    trained: Any = load.load(tied_model, dtype="float32")
    done = attach(trained, tied_model, 0, lora_rank=4, additional_target=named)
    assert [finding.id for finding in done.said] == ["model.learn-as-one", "model.trainable"]
    assert sum("modules_to_save" in name for name in done.trainable) == 1
    shaken(trained)
    folder = trained_adapter(tied_model, tmp_path / "adapter", additional_target=named)
    ours: Any = load.load(tied_model, dtype="float32")
    adapters.open(ours, folder, tied_model)
    assert ours.get_input_embeddings().weight is ours.get_output_embeddings().weight
    assert torch.equal(logits(ours), logits(trained))
    theirs = open_in_peft(tied_model, folder)
    torch.testing.assert_close(logits(theirs), logits(trained), rtol=0, atol=1e-5)


def test_a_bias_learns_where_there_is_one(tmp_path: Path, tiny_model: Path) -> None:
    config = Qwen2Config(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2)  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "base")
    given = {"lora_bias": "lora_only", "lora_target": "q_proj,k_proj,v_proj"}
    trained: Any = load.load(tmp_path / "base", dtype="float32")
    done = attach(trained, tmp_path / "base", 0, lora_rank=4, **given)
    assert sum(name.endswith("bias") for name in done.trainable) == 3
    shaken(trained)
    folder = trained_adapter(tmp_path / "base", tmp_path / "adapter", **given)
    theirs = open_in_peft(tmp_path / "base", folder)
    torch.testing.assert_close(logits(theirs), logits(trained), rtol=0, atol=1e-5)


# ---- keys


def test_dora_may_be_written_as_a_method() -> None:
    run = from_mapping({"finetuning_type": "dora", "lora_rank": 4}, "here")
    assert (run.method.finetuning_type, run.method.lora.use_dora) == ("lora", True)
    assert [finding.values for finding in run.notices] == [
        {"found": "finetuning_type: dora", "key": "finetuning_type: lora, use_dora: true"}
    ]
    with pytest.raises((InputError, SeveralErrors)):
        from_mapping({"finetuning_type": "dora", "use_dora": False}, "here")


@pytest.mark.parametrize("word", ["none", "false", False, None])
def test_no_bias_may_be_written_in_several_ways(word: Any) -> None:
    assert from_mapping({"lora_bias": word}, "here").method.lora.lora_bias == "none" if word is not None else True


def test_a_rate_for_embeddings_that_nothing_uses_is_said() -> None:
    plain = from_mapping({"loraplus_lr_embedding": 1e-5}, "here")
    assert [finding.values["key"] for finding in plain.notices] == ["loraplus_lr_embedding"]


def test_the_layers_in_one_piece_compute_rslora_and_leave_dora_to_peft(tiny_model: Path) -> None:
    x = torch.zeros(1, 1, 32)
    for given, theirs in (({"use_rslora": True}, False), ({"use_dora": True}, True)):
        model = load.load(tiny_model, dtype="float32")
        adapters.attach(model, run_for(tiny_model, **given).method, method.Start("float32", 0, fused=True))
        layers = [module for module in model.modules() if isinstance(module, FusedLinear)]
        assert len(layers) == 14
        assert {layer.adapted(x[..., :1].expand(1, 1, layer.in_features)) is None for layer in layers} == {theirs}
