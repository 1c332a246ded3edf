"""The policy: right whatever is attached to the model, however the rows are split, and loud where it may not be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import LlamaForCausalLM

from llama_factory.errors import OurFault, ProofError
from llama_factory.model import layouts, proven
from llama_factory.model.attention import NAME
from llama_factory.model.layouts import Layout, isolation, supervised
from llama_factory.model.policy import ALLOWED_HALF_PLAIN, Policy, Want
from llama_factory.records import Batch
from llama_factory.testing.prove import TOLERANCE, difference, plain_reference, policy_reference, rows
from llama_factory.testing.tiny import VOCABULARY, tiny_model

LENGTHS = (9, 2, 14, 1, 5, 13, 9, 8)


def joined(batch: Batch, picked: list[int]) -> Batch:
    parts = [list(batch.rows_alone())[r] for r in picked]
    offsets = np.concatenate([[0], np.cumsum([len(p.ids_T) for p in parts])])
    ids_T, weight_T = (np.concatenate([getattr(p, name) for p in parts]) for name in ("ids_T", "weight_T"))
    return Batch(ids_T, weight_T, offsets, np.array(picked))


def usual(**overrides):
    return tiny_model("llama", attention=None, **overrides)


def lora(model, **overrides):
    settings = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    return get_peft_model(model, LoraConfig(**{**settings, **overrides})).train()


def assert_equals_plain(module, layout=None):
    batch, grad_S = rows(LENGTHS)
    reference = plain_reference(module, batch, grad_S)
    policy = Policy(module, layout=layout)
    assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE
    return policy


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_gives_the_same_logprobs_and_gradients(layout):
    policy = assert_equals_plain(usual(), layout)
    assert policy.layout is layout


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize(
    "split", [[[0, 1, 2, 3], [4, 5, 6, 7]], [[7], [6, 1], [0, 5, 3], [2, 4]], [[r] for r in range(8)]]
)
def test_any_split_into_micro_batches_gives_the_same_gradients(layout, split):
    batch, _ = rows(LENGTHS)
    model = usual()
    policy = Policy(model, layout=layout)
    whole = policy_reference(
        policy, [joined(batch, [r for part in split for r in part])], torch.ones(int(batch.weight_T.sum()))
    )
    parts = policy_reference(policy, [joined(batch, part) for part in split], torch.ones(int(batch.weight_T.sum())))
    assert max(difference(parts, whole)) < TOLERANCE


def test_positions_and_order_are_those_of_the_batch():
    batch, _ = rows(LENGTHS)
    found = Policy(usual(), layout=Layout.PADDED).forward(batch)
    assert found.index_S.tolist() == np.flatnonzero(batch.weight_T).tolist()
    assert found.logprob_S.dtype == torch.float32


def test_nothing_is_computed_that_no_supervised_token_reads():
    ids_T = np.arange(12, dtype=np.int32)
    weight_T = np.zeros(12, np.float32)
    weight_T[[2, 9]] = [1.0, 0.5]
    needed = supervised(Batch(ids_T, weight_T, np.array([0, 5, 8, 12]), np.arange(3)), torch.device("cpu"))
    assert needed.ids_T.tolist() == [0, 1, 8]  # two of the first row, none of the second, one of the third
    assert needed.lengths_R == (2, 1)
    assert needed.before_S.tolist() == [1, 2]
    assert needed.token_S.tolist() == [2, 9]


def test_the_padded_layout_is_tested_with_real_filler():
    seen = []
    model = usual()
    model.model.register_forward_pre_hook(lambda module, args, given: seen.append(given["input_ids"]), with_kwargs=True)
    batch, _ = rows(LENGTHS)
    Policy(model, layout=Layout.PADDED).forward(batch)
    assert sum(ids.numel() for ids in seen) > supervised(batch, torch.device("cpu")).ids_T.numel()
    assert any(len(ids) > 1 for ids in seen)


def test_a_batch_without_supervised_tokens_gives_nothing_and_can_be_sent_back():
    batch = Batch(np.arange(4, dtype=np.int32), np.zeros(4, np.float32), np.array([0, 4]), np.arange(1))
    found = Policy(usual()).forward(batch)
    assert found.logprob_S.shape == (0,)
    found.logprob_S.sum().backward()


def test_lora_on_every_layer():
    policy = assert_equals_plain(lora(usual()))
    assert policy.layout is Layout.PACKED
    assert set(policy.trainable()) == {n for n, p in policy.module.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in policy.trainable())


def test_lora_on_the_head_is_called_as_the_module_that_it_is():
    policy = assert_equals_plain(lora(usual(), target_modules=["q_proj", "lm_head"]))
    assert "head as a module" in policy.describe()
    assert any("lm_head" in name for name in policy.trainable())


def test_a_head_trained_whole_beside_an_adapter():
    policy = assert_equals_plain(lora(usual(), target_modules=["q_proj"], modules_to_save=["lm_head"]))
    assert any("lm_head.modules_to_save" in name for name in policy.trainable())


@pytest.mark.parametrize("tied", [False, True])
def test_all_weights_trained_with_embeddings_tied_to_the_head_or_not(tied):
    model = usual(tie_word_embeddings=tied)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert_equals_plain(model)


def test_only_the_last_layer_trained():
    model = usual()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.1." in name)
    policy = assert_equals_plain(model)
    assert all("layers.1." in name for name in policy.trainable())


@pytest.mark.parametrize("layout", list(Layout))
def test_gradient_checkpointing_changes_nothing(layout):
    model = lora(usual())
    batch, grad_S = rows(LENGTHS)
    without = policy_reference(Policy(model, layout=layout), [batch], grad_S)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert model.get_base_model().is_gradient_checkpointing
    assert max(difference(policy_reference(Policy(model, layout=layout), [batch], grad_S), without)) < TOLERANCE


def test_bfloat16_weights_are_used_as_they_are():
    model = lora(usual()).bfloat16()
    batch, grad_S = rows(LENGTHS)
    exact = plain_reference(model.float(), batch, grad_S)
    half = policy_reference(Policy(model.bfloat16()), [batch], grad_S)
    assert half.logprob_S.dtype == torch.float32
    assert (half.logprob_S - exact.logprob_S).abs().mean() < 0.05
    assert 1e-6 < difference(half, exact)[1] < 0.3


def test_another_compute_type_goes_through_autocast():
    model = usual()
    batch, grad_S = rows(LENGTHS)
    exact = plain_reference(model, batch, grad_S)
    cast = policy_reference(Policy(model, compute_dtype=torch.bfloat16), [batch], grad_S)
    assert 1e-4 < (cast.logprob_S - exact.logprob_S).abs().mean() < 0.05
    assert all(g.dtype == torch.float32 for g in cast.gradients.values())


def test_a_prompt_that_an_adapter_puts_first_takes_the_plain_path():
    model = get_peft_model(usual(), PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=3))
    policy = Policy(model)
    assert policy.layout is None
    assert "tokens of its own" in policy.describe()
    batch, _ = rows(LENGTHS)
    found = policy.forward(batch)
    row = next(batch.rows_alone())
    logits_TV = model(input_ids=torch.from_numpy(row.ids_T.astype(np.int64))[None]).logits[0]
    assert logits_TV.shape[0] == len(row.ids_T) + 3
    expected = logits_TV.log_softmax(-1)[len(row.ids_T) + 1, int(row.ids_T[-1])]
    last = int(row.weight_T.sum()) - 1
    assert found.logprob_S[last].item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_type_that_is_not_on_the_list_takes_the_plain_path_and_says_so():
    policy = Policy(usual(), table={})
    assert policy.layout is None
    assert policy.describe() == (
        "llama: plain path, row by row with all logits (this model type is not on the list of proven ones)"
    )
    batch, grad_S = rows(LENGTHS)
    reference = plain_reference(policy.module, batch, grad_S)
    assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE


def test_a_type_shown_unequal_takes_the_plain_path_and_says_why():
    policy = Policy(tiny_model("bert", attention=None))
    assert policy.layout is None
    assert "its logits are not its head on its last hidden state" in policy.describe()


class Llama(LlamaForCausalLM):
    """Somebody's own model that calls itself a llama."""


def test_a_class_from_elsewhere_takes_the_plain_path_although_its_type_is_proven():
    policy = Policy(Llama(usual().config))
    assert policy.layout is None
    assert "Llama is not on the list of proven classes" in policy.describe()


def test_a_kernel_asked_for_by_name_is_kept():
    model = tiny_model("llama", attention="eager")
    policy = assert_equals_plain(model)
    assert policy.layout is Layout.PADDED
    assert model.config._attn_implementation == "eager"
    assert "another attention kernel was asked for" in policy.describe()


def test_an_unproven_layout_is_refused():
    with pytest.raises(OurFault, match="not proven"):
        Policy(tiny_model("mamba", attention=None), layout=Layout.PACKED)


def test_only_what_is_built_can_be_wanted():
    batch, _ = rows(LENGTHS)
    with pytest.raises(OurFault):
        Policy(usual()).forward(batch, frozenset())
    assert [want.value for want in Want] == ["logprobs"]


def test_generation_is_the_same_after_a_policy_was_made():
    model = usual().eval()
    ids = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0  # padded on the left, as prompts are
    ask = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    before = model.generate(**ask)
    Policy(model)
    assert model.config._attn_implementation == NAME
    assert torch.equal(model.generate(**ask), before)


def test_saving_leaves_no_trace_of_our_attention(tmp_path):
    model = usual()
    Policy(model)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


def test_a_model_can_be_asked_itself_whether_the_fast_way_is_right():
    batch, _ = rows(LENGTHS)
    policy = Policy(usual())
    assert policy.verify(batch) < 1e-6
    assert policy.module.training


def test_a_fast_way_that_is_wrong_is_found_before_it_trains():
    batch, _ = rows(LENGTHS)
    wrong = {"llama": proven.Proof((Layout.ROWS,), "LlamaForCausalLM", multiply="hidden_size")}
    with pytest.raises(ProofError, match="differs from the plain one"):
        Policy(usual(), table=wrong).verify(batch)


def test_rows_that_see_each_other_are_found_in_half_precision_too(monkeypatch):
    batch, _ = rows(LENGTHS)
    policy = Policy(usual().bfloat16(), layout=Layout.PACKED)
    assert policy.verify(batch) < ALLOWED_HALF_PLAIN
    monkeypatch.setattr(layouts, "isolation", lambda lengths_R, device: isolation((sum(lengths_R),), device))
    with pytest.raises(ProofError, match="differs from the plain one"):
        policy.verify(batch)
