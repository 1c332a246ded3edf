"""Learned tokens before every row: peft opens what we save, chat goes on from its own cache, nothing is merged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from test_adapters import IDS, attach, logits, run_for, shaken

from llama_factory.config import from_mapping
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.export import export_model
from llama_factory.generation import Sampling, TransformersEngine
from llama_factory.model import adapters, audit, load, save, weights
from llama_factory.model.methods.prompts import TOKENS
from llama_factory.model.policy import Policy
from llama_factory.model.prompted import ENCODER

KINDS: dict[str, dict[str, Any]] = {
    "p_tuning": {"finetuning_type": "p_tuning", "num_virtual_tokens": 3, "encoder_hidden_size": 8},
    "p_tuning lstm": {"finetuning_type": "p_tuning", "encoder_reparameterization_type": "lstm"},
    "prompt_tuning": {"finetuning_type": "prompt_tuning", "num_virtual_tokens": 3},
    "prefix_tuning": {"finetuning_type": "prefix_tuning", "num_virtual_tokens": 3},
    "prefix_tuning projected": {"finetuning_type": "prefix_tuning", "prefix_projection": True},
}
EVERY = pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)


def saved(base: Path, folder: Path, given: dict[str, Any]) -> tuple[Any, Path]:
    """The module in memory, and its files."""
    model = attach(load.load(base, dtype="float32"), base, **given).module
    masters = shaken(model, size=0.3)
    folder.mkdir(parents=True)
    run = run_for(base, **given)
    save.trained_files(model, masters, run, folder, base_folder=base, template_text="t", template_fingerprint="f")
    return model.eval(), folder


@EVERY
def test_plain_peft_and_we_open_what_was_saved_as_it_was(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    model, folder = saved(tiny_model, tmp_path / "out", given)
    theirs = PeftModel.from_pretrained(load.load(tiny_model, dtype="float32"), folder)
    ours = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model).module
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(ours), logits(model), rtol=1e-5, atol=1e-5)
    base = logits(load.load(tiny_model, dtype="float32"))
    assert float((logits(model)[:, -IDS.shape[1] :] - base).abs().max()) > 1e-3


@EVERY
def test_training_goes_on_from_the_files_with_the_same_weights(
    tiny_model: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    model, folder = saved(tiny_model, tmp_path / "out", given)
    again = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model, trainable=True)
    own, before = dict(again.module.named_parameters()), dict(model.named_parameters())
    assert set(again.trainable) == {name for name, value in before.items() if value.requires_grad}
    assert all(torch.equal(own[name], before[name]) for name in again.trainable)
    assert all(name.startswith("prompt_encoder.") for name in again.trainable)


def test_without_the_network_they_can_be_used_and_not_trained_further(tiny_model: Path, tmp_path: Path) -> None:
    _, folder = saved(tiny_model, tmp_path / "out", KINDS["p_tuning"])
    (folder / ENCODER).unlink()
    adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model)
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model, trainable=True)
    assert caught.value.id == "model.prompts-without-encoder"


@EVERY
def test_an_answer_is_what_peft_says_without_a_cache(tiny_model: Path, tmp_path: Path, given: dict[str, Any]) -> None:
    """The tokens stand before the row once; peft's own forward would put them before every token of the answer."""
    _, folder = saved(tiny_model, tmp_path / "out", given)
    theirs: Any = PeftModel.from_pretrained(load.load(tiny_model, dtype="float32"), folder)
    prompt, expected = list(range(3, 14)), list[int]()
    for _ in range(8):
        with torch.no_grad():
            said = theirs(input_ids=torch.tensor([[*prompt, *expected]])).logits
        expected.append(int(said[0, -1].argmax()))
    module = adapters.open(load.load(tiny_model, dtype="float32"), folder, tiny_model).module
    engine = TransformersEngine(module, [])
    assert list(engine.stream(prompt, Sampling(max_new_tokens=8))) == expected
    longer = [*prompt, 20, 21]  # begins as the last one did: what its cache holds is used
    fresh = TransformersEngine(module, [])
    assert list(engine.stream(longer, Sampling(max_new_tokens=8))) == list(
        fresh.stream(longer, Sampling(max_new_tokens=8))
    )


def test_an_answer_ends_where_the_window_does_learned_tokens_and_all(tiny_model: Path) -> None:
    """A model whose places end fails beyond them; the learned tokens have the first of them."""
    model = attach(load.load(tiny_model, dtype="float32"), tiny_model, **KINDS["prompt_tuning"]).module.eval()
    model.config.max_position_embeddings = 20
    assert adapters.learned_tokens(model) == 3
    assert adapters.learned_tokens(load.load(tiny_model, dtype="float32")) == 0
    engine = TransformersEngine(model, stop_ids=())
    assert len(list(engine.stream([5, 6, 7], Sampling(max_new_tokens=100, do_sample=False)))) == 20 - 3 - 3
    with pytest.raises(InputError) as caught:
        list(engine.stream([5] * 17, Sampling(max_new_tokens=1)))
    assert (caught.value.id, caught.value.values["window"]) == ("generation.prompt-too-long", 17)


@EVERY
def test_switched_off_it_answers_as_its_base(tiny_model: Path, given: dict[str, Any]) -> None:
    module = attach(load.load(tiny_model, dtype="float32"), tiny_model, **given).module.eval()
    with adapters.switched_off(module):
        assert torch.equal(logits(module), logits(load.load(tiny_model, dtype="float32")))
    assert logits(module).abs().sum() != logits(load.load(tiny_model, dtype="float32")).abs().sum()


@EVERY
def test_the_policy_sees_what_plain_attention_gives(tiny_model: Path, given: dict[str, Any]) -> None:
    import numpy as np

    from llama_factory.records import Batch

    module = attach(load.load(tiny_model, dtype="float32"), tiny_model, **given).module.eval()
    cast_off: Any = module.get_base_model()
    cast_off.set_attn_implementation("eager")
    expected = torch.log_softmax(logits(module)[0, -IDS.shape[1] :], -1)[:-1].gather(1, IDS[0, 1:, None])[:, 0]
    cast_off.set_attn_implementation("sdpa")
    count = IDS.shape[1]
    weight = np.ones(count, np.float32)
    weight[0] = 0
    batch = Batch(IDS[0].numpy().astype(np.int32), weight, np.array([0, count], np.int64), np.zeros(1, np.int64))
    policy = Policy(module)
    found = policy.forward(batch).logprob_S
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-5)
    assert policy.layout is None
    found.sum().backward()
    assert all(value.grad is not None and bool(value.grad.any()) for value in policy.trainable().values())


@EVERY
def test_the_number_of_trained_weights_is_known_from_the_shapes(tiny_model: Path, given: dict[str, Any]) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, **given)
    found = audit.trained_count(
        run_for(tiny_model, **given), list(weights.entries(tiny_model).values()), audit.shape(tiny_model)
    )
    if "lstm" not in given.values():
        assert done.trainable_count <= found <= 2.2 * done.trainable_count  # grouped heads keep fewer keys
    assert done.trainable_count > 0


def test_the_tokens_begin_as_the_words_that_were_given(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    text = "You answer in one word."
    ids = AutoTokenizer.from_pretrained(tiny_model)(text, add_special_tokens=False)["input_ids"]
    model: Any = load.load(tiny_model, dtype="float32")
    embedding = model.get_input_embeddings().weight.clone()
    given = {"finetuning_type": "prompt_tuning", "prompt_init_text": text}
    with pytest.raises(InputError) as caught:
        start(model, tiny_model, num_virtual_tokens=1, **given)
    assert caught.value.id == "model.prompt-text-long"
    assert torch.equal(start(model, tiny_model, **given).tokens, embedding[ids])
    other: Any = load.load(tiny_model, dtype="float32")
    repeated = start(other, tiny_model, num_virtual_tokens=len(ids) + 1, **given).tokens
    assert torch.equal(repeated, embedding[[*ids, ids[0]]])


def start(model: Any, base: Path, **given: Any) -> Any:
    from llama_factory.model.methods import Start

    return adapters.attach(model, run_for(base, **given).method, Start("float32", 7, base_folder=base)).module


def test_a_seed_gives_one_start_and_leaves_the_generators_alone(tiny_model: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    tokens = [attach(load.load(tiny_model, dtype="float32"), tiny_model, **KINDS["p_tuning"]).module.tokens]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    tokens.append(attach(load.load(tiny_model, dtype="float32"), tiny_model, **KINDS["p_tuning"]).module.tokens)
    assert torch.equal(*tokens)


def test_export_says_that_tokens_cannot_be_merged(tiny_model: Path, tmp_path: Path) -> None:
    _, folder = saved(tiny_model, tmp_path / "out", KINDS["prompt_tuning"])
    asked = {"model_name_or_path": str(tiny_model), "adapter_name_or_path": str(folder),
             "export_dir": str(tmp_path / "merged")}  # fmt: skip
    with pytest.raises(InputError) as caught:
        export_model(from_mapping(asked, "a test"), lambda line: None)
    assert caught.value.id == "export.prompts-do-not-merge"
    assert not (tmp_path / "merged").exists()


def test_two_of_them_or_one_beside_lora_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    _, first = saved(tiny_model, tmp_path / "one", KINDS["prompt_tuning"])
    second = shutil.copytree(first, tmp_path / "two")
    with pytest.raises(InputError) as caught:
        adapters.open(load.load(tiny_model, dtype="float32"), [first, second], tiny_model)
    assert caught.value.id == "model.adapters-do-not-add"


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("P-Tuning", "p_tuning"), ("ptuning", "p_tuning"), ("p_tuning", "p_tuning"), ("Prefix-Tuning", "prefix_tuning"),
        ("P-Tuning v2", "prefix_tuning"), ("ptuning_v2", "prefix_tuning"), ("prompt tuning", "prompt_tuning"),
    ],
)  # fmt: skip
def test_the_words_that_people_write_mean_a_method(written: str, kind: str) -> None:
    assert from_mapping({"finetuning_type": written}, "here").method.finetuning_type == kind
    assert from_mapping({"finetuning_type": written, "pre_seq_len": 9}, "here").method.prompts.num_virtual_tokens == 9


def test_prefix_tuning_and_checkpointing_are_refused_together_and_idle_keys_are_told() -> None:
    given = {"finetuning_type": "prefix_tuning", "gradient_checkpointing": True}
    with pytest.raises(LlamaFactoryError) as caught:
        from_mapping(given, "here")
    assert caught.value.id == "config.prefix-checkpointing"
    run = from_mapping({"finetuning_type": "prefix_tuning", "prompt_init_text": "a", "lora_rank": 4}, "here")
    assert sorted(one.values["key"] for one in run.notices) == ["lora_rank", "prompt_init_text"]


def test_checkpointing_would_really_drop_the_prefix(tiny_model: Path) -> None:
    """Why the two are refused together: when this fails, transformers keeps the cache, and they need not be."""
    module: Any = attach(load.load(tiny_model, dtype="float32"), tiny_model, **KINDS["prefix_tuning"]).module.train()
    shaken(module, size=0.3)
    logits(module)
    module.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(RuntimeError, match="size of tensor"):
        logits(module)


def test_there_are_twenty_of_them_unless_said_otherwise(tiny_model: Path) -> None:
    done = attach(load.load(tiny_model, dtype="float32"), tiny_model, finetuning_type="prompt_tuning")
    assert done.trainable_count == TOKENS * 32
