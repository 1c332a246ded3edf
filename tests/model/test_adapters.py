"""What learns is what was asked for; an adapter returns to its own base, and to no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llama_factory.config import Run, from_mapping
from llama_factory.errors import InputError
from llama_factory.model import adapters, fingerprint, load, save
from llama_factory.model.methods import Start

IDS = torch.arange(3, 30)[None]
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def run_for(model: Path, **given: Any) -> Run:
    return from_mapping({"model_name_or_path": str(model), "stage": "sft", **given}, "a test")


def attach(model: Any, folder: Path, seed: int = 7, dtype: str = "float32", **given: Any) -> adapters.Attached:
    return adapters.attach(model, run_for(folder, **given).method, Start(dtype, seed))


def shaken(model: torch.nn.Module, seed: int = 0, size: float = 0.05) -> dict[str, torch.Tensor]:
    """Every trainable weight moved at random, as training would; returns them as the masters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * size)
    return {name: value.detach().float() for name, value in model.named_parameters() if value.requires_grad}


def trained_adapter(base: Path, folder: Path, seed: int = 0, **given: Any) -> Path:
    """A LoRA adapter on `base`, saved as the recipe saves it."""
    model = load.load(base, dtype="float32")
    run = run_for(base, finetuning_type="lora", lora_rank=4, **given)
    adapters.attach(model, run.method, Start("float32", seed))
    return saved(model, run, folder, base, seed)


def trained_further(adapter: Path, base: Path, folder: Path, **given: Any) -> Path:
    """The adapter as a run that goes on with it leaves it."""
    opened = adapters.open(load.load(base, dtype="float32"), adapter, base, trainable=True)
    run = run_for(base, adapter_name_or_path=str(adapter), **given)
    return saved(opened.module, run, folder, base, continued=adapter)


def saved(module: torch.nn.Module, run: Run, folder: Path, base: Path, seed: int = 0, **more: Any) -> Path:
    """What the recipe saves of a module that has learned something."""
    folder.mkdir(parents=True)
    save.trained_files(
        module, shaken(module, seed), run, folder, base_folder=base, template_text="t", template_fingerprint="f", **more
    )
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(IDS).logits
    return out


# ---- lora


def test_lora_on_all_is_on_every_linear_layer_but_the_head_as_peft_has_it(tiny_model: Path) -> None:
    model, theirs = load.load(tiny_model, dtype="float32"), load.load(tiny_model, dtype="float32")
    done = attach(model, tiny_model, lora_rank=4)
    plain: Any = get_peft_model(theirs, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    expected = {name.removeprefix("base_model.model.") for name, p in plain.named_parameters() if p.requires_grad}
    assert set(done.trainable) == expected
    assert len(expected) == 2 * 7 * 2
    # rank x (in + out), over q k v o gate up down of two layers
    assert done.trainable_count == 2 * 4 * ((32 + 32) + 2 * (32 + 16) + (32 + 32) + 2 * (32 + 64) + (64 + 32))
    assert done.total_count == sum(p.numel() for p in model.parameters())


def test_lora_starts_as_the_base_and_its_scale_is_alpha_over_rank(tiny_model: Path) -> None:
    model: Any = load.load(tiny_model, dtype="float32")
    before = logits(model)
    attach(model, tiny_model, lora_rank=4)
    assert torch.equal(logits(model), before)
    assert model.model.layers[0].mlp.up_proj.scaling == {"default": 2.0}
    other: Any = load.load(tiny_model, dtype="float32")
    attach(other, tiny_model, lora_rank=4, lora_alpha=2)
    assert other.model.layers[0].mlp.up_proj.scaling == {"default": 0.5}


def test_a_seed_gives_one_start_whatever_was_drawn_before(tiny_model: Path) -> None:
    starts = []
    for global_seed, seed in ((1, 7), (2, 7), (1, 8)):
        model = load.load(tiny_model, dtype="float32")
        torch.manual_seed(global_seed)
        attach(model, tiny_model, seed=seed)
        starts.append({name: p.clone() for name, p in model.named_parameters() if "lora_A" in name})
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not any(torch.equal(starts[0][name], starts[2][name]) for name in starts[0])
    assert all(float(value.detach().abs().max()) <= value.shape[1] ** -0.5 for value in starts[0].values())
    assert len(starts[0]) == 14


def test_new_weights_stand_in_the_compute_dtype_and_alone_get_gradients(tiny_model: Path) -> None:
    model: Any = load.load(tiny_model, dtype="bfloat16")
    done = attach(model, tiny_model, dtype="bfloat16")
    shaken(model)
    model(IDS, labels=IDS).loss.backward()
    graded = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert graded == set(done.trainable)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("target", ["q_proj,v_proj", ["q_proj", "v_proj"]])
def test_named_targets_are_taken_and_no_others(tiny_model: Path, target: Any) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target=target)
    assert {name.split(".")[4] for name in done.trainable} == {"q_proj", "v_proj"}


def test_one_layer_can_be_named_in_full(tiny_model: Path) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target="layers.1.mlp.up_proj")
    assert {name.rpartition(".lora_")[0] for name in done.trainable} == {"model.layers.1.mlp.up_proj"}


def test_a_target_that_is_no_linear_layer_is_refused_with_the_real_names(tiny_model: Path) -> None:
    for target, id in (("q_prj", "model.no-such-target"), ("input_layernorm", "model.no-such-target")):
        with pytest.raises(InputError) as caught:
            attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target=target)
        assert caught.value.id == id
        assert all(name in caught.value.letter() for name in LINEAR)
    with pytest.raises(InputError, match="`q_proj`"):
        attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target="q_prj")


def test_the_head_can_be_adapted_unless_it_is_the_embedding_too(tiny_model: Path) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, lora_target="lm_head,q_proj")
    assert "lm_head.lora_A.default.weight" in done.trainable
    tied = LlamaForCausalLM(
        LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                    tie_word_embeddings=True)
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        attach(tied, tiny_model, lora_target="lm_head")
    assert caught.value.id == "model.lora-on-tied-head"


def test_the_transposed_linear_layers_of_gpt2_are_linear_layers(tiny_model: Path) -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=64)).eval()
    before = logits(model)
    done = attach(model, tiny_model)
    assert len(done.trainable) == 2 * 4 * 2
    assert torch.allclose(logits(model), before)
    shaken(model)
    assert not torch.allclose(logits(model), before)


def test_experts_in_one_tensor_are_left_alone_and_said() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    done = attach(MixtralForCausalLM(config), Path("m"))
    assert [finding.id for finding in done.said] == ["model.experts-not-adapted", "model.trainable"]


# ---- freeze and full


def layers_of(done: adapters.Attached) -> set[str]:
    return {name.split(".")[2] if ".layers." in name else name for name in done.trainable}


@pytest.mark.parametrize(("number", "layers"), [(1, {"1"}), (-1, {"0"}), (2, {"0", "1"})])
def test_freeze_trains_the_last_layers_or_the_first(tiny_model: Path, number: int, layers: set[str]) -> None:
    done = attach(
        load.load(tiny_model, dtype="float32"), tiny_model, finetuning_type="freeze", freeze_trainable_layers=number
    )
    assert layers_of(done) == layers
    assert len(done.trainable) == 9 * len(layers)


def test_freeze_trains_named_modules_and_named_extras(tiny_model: Path) -> None:
    done = attach(
        load.load(tiny_model, dtype="float32"), tiny_model, finetuning_type="freeze", freeze_trainable_layers=1,
        freeze_trainable_modules="mlp.up_proj,self_attn", freeze_extra_modules="norm,lm_head",
    )  # fmt: skip
    attention = {f"model.layers.1.self_attn.{name}.weight" for name in LINEAR[:4]}
    assert set(done.trainable) == attention | {
        "model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ({"freeze_trainable_layers": 3}, "model.freeze-layers"),
        ({"freeze_trainable_layers": -3}, "model.freeze-layers"),
        ({"freeze_trainable_modules": "mpl"}, "model.no-such-part"),
        ({"freeze_extra_modules": "mlp"}, "model.no-such-part"),
    ],
)
def test_freeze_refuses_what_is_not_there(tiny_model: Path, given: dict[str, Any], id: str) -> None:
    with pytest.raises(InputError) as caught:
        attach(load.load(tiny_model, dtype="float32"), tiny_model, finetuning_type="freeze", **given)
    assert caught.value.id == id


def test_full_trains_everything(tiny_model: Path) -> None:
    model = load.load(tiny_model, dtype="float32")
    done = attach(model, tiny_model, finetuning_type="full")
    assert set(done.trainable) == set(dict(model.named_parameters()))
    assert done.trainable_count == done.total_count


# ---- adapters that come back


def test_an_adapter_comes_back_as_it_was_and_as_peft_reads_it(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    model = load.load(tiny_model, dtype="float32")
    base = logits(model)
    done = adapters.open(model, folder, tiny_model)
    assert (done.said, done.trainable) == ((), ())
    theirs = PeftModel.from_pretrained(load.load(tiny_model, dtype="float32"), str(folder))
    assert torch.equal(logits(model), logits(theirs))
    assert float((logits(model) - base).abs().max()) > 0.05


def test_two_adapters_add_up(tiny_model: Path, tmp_path: Path) -> None:
    one = trained_adapter(tiny_model, tmp_path / "one", 1)
    two = trained_adapter(tiny_model, tmp_path / "two", 2, lora_target="q_proj,down_proj")
    model = load.load(tiny_model, dtype="float32")
    adapters.open(model, [one, two], tiny_model)
    theirs: Any = load.load(tiny_model, dtype="float32")
    for folder in (one, two):
        theirs = PeftModel.from_pretrained(theirs, str(folder)).merge_and_unload()
    assert torch.allclose(logits(model), logits(theirs), atol=1e-5)


def test_training_goes_on_from_an_adapter(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "one")
    done = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model, trainable=True)
    assert len(done.trainable) == 28


def test_another_base_is_refused_by_its_weights_and_not_by_its_name(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    moved = shutil.copytree(tiny_model, tmp_path / "moved")
    assert adapters.open(load.load(moved, dtype="float32"), folder, moved).said == ()
    other = load.load(moved, dtype="float32")
    with torch.no_grad():
        other.get_parameter("model.norm.weight")[0] += 1e-3
    shutil.rmtree(moved)
    other.save_pretrained(moved)  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(moved, dtype="float32"), folder, moved)
    assert (caught.value.id, caught.value.exit_code) == ("model.other-base", 2)
    assert str(tiny_model) in caught.value.letter()


def test_a_base_whose_configuration_changed_is_said(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    moved = shutil.copytree(tiny_model, tmp_path / "moved")
    said = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(said | {"rms_norm_eps": 0.1}))
    assert [finding.id for finding in adapters.check_base(folder, moved)] == ["model.other-base-config"]
    (moved / "config.json").write_text(json.dumps(said | {"transformers_version": "9", "dtype": "bfloat16"}))
    assert adapters.check_base(folder, moved) == []


def test_an_adapter_from_elsewhere_is_taken_with_a_notice(tiny_model: Path, tmp_path: Path) -> None:
    theirs: Any = get_peft_model(
        load.load(tiny_model, dtype="float32"), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    shaken(theirs)
    theirs.save_pretrained(str(tmp_path / "theirs"))
    model = load.load(tiny_model, dtype="float32")
    done = adapters.open(model, tmp_path / "theirs", tiny_model)
    assert [finding.id for finding in done.said] == ["model.adapter-from-elsewhere"]
    assert torch.equal(logits(model), logits(theirs.eval()))


def test_what_a_newer_peft_says_is_said_unless_it_says_nothing(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    edit(folder, use_tomorrow=False)
    assert adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model).said == ()
    edit(folder, use_tomorrow=True)
    said = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model).said
    assert [(finding.id, finding.values["found"]) for finding in said] == [("model.adapter-newer", "use_tomorrow")]


def edit(folder: Path, **changes: Any) -> None:
    file = folder / adapters.ADAPTER_CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_off(folder: Path) -> None:
    file = folder / adapters.ADAPTER_WEIGHTS
    file.write_bytes(file.read_bytes()[:-9])


def empty(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({}, folder / adapters.ADAPTER_WEIGHTS)


def pickled(folder: Path) -> None:
    (folder / adapters.ADAPTER_WEIGHTS).rename(folder / "adapter_model.bin")


BROKEN = {
    "no configuration": (lambda f: (f / adapters.ADAPTER_CONFIG).unlink(), "model.not-an-adapter"),
    "no weights": (lambda f: (f / adapters.ADAPTER_WEIGHTS).unlink(), "model.not-an-adapter"),
    "pickled": (pickled, "model.pickled-weights"),
    "cut off": (cut_off, "model.truncated"),
    "empty": (empty, "model.empty-adapter"),
    "configuration broken": (lambda f: (f / adapters.ADAPTER_CONFIG).write_text("{"), "model.broken-config"),
    "note broken": (lambda f: (f / fingerprint.NOTE).write_text("{"), "model.broken-note"),
    "another kind": (lambda f: edit(f, peft_type="IA3"), "model.adapter-kind"),
    "rows that are not there": (lambda f: edit(f, trainable_token_indices=[3]), "model.adapter-does-not-fit"),
    "tokens beyond the base": (lambda f: edit(f, trainable_token_indices=[99999]), "model.base-not-grown"),
    "a whole module that is not there": (lambda f: edit(f, modules_to_save=["lm_head"]), "model.adapter-does-not-fit"),
    "out of another base": (lambda f: edit(f, init_lora_weights="pissa_niter_4"), "model.adapter-on-changed-base"),
    "another rank": (lambda f: edit(f, r=16), "model.adapter-does-not-fit"),
    "fewer targets": (lambda f: edit(f, target_modules=["q_proj"]), "model.adapter-does-not-fit"),
    "more targets": (lambda f: edit(f, target_modules=[*LINEAR, "lm_head"]), "model.adapter-does-not-fit"),
    "other targets": (lambda f: edit(f, target_modules=["query"]), "model.adapter-does-not-fit"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_adapter_is_a_letter(tiny_model: Path, tmp_path: Path, what: str) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    breaks, id = BROKEN[what]
    breaks(folder)  # type: ignore[no-untyped-call]
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model)
    assert caught.value.id == id
    assert "\n\n" not in caught.value.letter("zh")


# ---- switched off, and put back


def test_switched_off_is_the_base_and_afterwards_all_is_as_before(tiny_model: Path) -> None:
    base = logits(load.load(tiny_model, dtype="float32"))
    model = load.load(tiny_model, dtype="float32")
    attach(model, tiny_model, lora_rank=4)
    shaken(model)
    trained = logits(model)
    learned = {name: value.requires_grad for name, value in model.named_parameters()}
    values = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert not torch.equal(trained, base)
    with adapters.switched_off(model):
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), trained)
    assert {name: value.requires_grad for name, value in model.named_parameters()} == learned
    assert all(torch.equal(value, values[name]) for name, value in model.named_parameters())


def test_an_error_inside_switches_them_on_again(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    model = load.load(tiny_model, dtype="float32")
    adapters.open(model, folder, tiny_model)
    trained = logits(model)
    with pytest.raises(RuntimeError, match="inside"), adapters.switched_off(model):
        raise RuntimeError("inside")
    assert torch.equal(logits(model), trained)
    assert not [name for name, value in model.named_parameters() if value.requires_grad], "it was opened to answer"


def test_a_model_without_adapters_is_left_alone(tiny_model: Path) -> None:
    model = load.load(tiny_model, dtype="float32")
    before = logits(model)
    with adapters.switched_off(model):
        assert torch.equal(logits(model), before)


def test_a_saved_adapter_is_put_back_into_the_one_that_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    folder = trained_adapter(tiny_model, tmp_path / "adapter")
    model = load.load(tiny_model, dtype="float32")
    adapters.open(model, folder, tiny_model)
    saved = logits(model)
    other = load.load(tiny_model, dtype="float32")
    attach(other, tiny_model, finetuning_type="lora", lora_rank=4)
    shaken(other, seed=5)
    assert not torch.equal(logits(other), saved)
    adapters.put_back(other, folder)
    assert torch.equal(logits(other), saved)
