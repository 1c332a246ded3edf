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
COMMON = 5


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
    """Rows that begin differently, and rows that begin alike."""
    policy = None
    for common in (0, COMMON):
        batch, grad_S = rows(LENGTHS, common=common)
        reference = plain_reference(module, batch, grad_S)
        policy = policy or Policy(module, layout=layout)
        assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE
    return policy


def needed(batch: Batch) -> int:
    """Tokens up to the last one of each row that predicts something."""
    return supervised(batch, torch.device("cpu")).ids_T.numel()


def laid(policy: Policy, batch: Batch) -> list[tuple[int, ...]]:
    """The shapes in which the tokens of this batch reach the model."""
    seen = []
    hook = policy.module.get_submodule(
        "model" if isinstance(policy.module, LlamaForCausalLM) else "base_model.model.model"
    ).register_forward_pre_hook(
        lambda module, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    policy.forward(batch)
    hook.remove()
    return seen


@pytest.mark.parametrize("layout", list(Layout))
def test_every_layout_gives_the_same_logprobs_and_gradients(layout):
    policy = assert_equals_plain(usual(), layout)
    assert policy.layout is layout


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("common", [0, COMMON])
@pytest.mark.parametrize(
    "split", [[[0, 1, 2, 3], [4, 5, 6, 7]], [[7], [6, 1], [0, 5, 3], [2, 4]], [[r] for r in range(8)]]
)
def test_any_split_into_micro_batches_gives_the_same_gradients(layout, split, common):
    batch, _ = rows(LENGTHS, common=common)
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
    found = supervised(Batch(ids_T, weight_T, np.array([0, 5, 8, 12]), np.arange(3)), torch.device("cpu"))
    assert found.ids_T.tolist() == [0, 1, 8]  # two of the first row, none of the second, one of the third
    assert found.lengths_R == (2, 1)
    assert found.common == 0
    assert found.before_S.tolist() == [1, 2]
    assert found.token_S.tolist() == [2, 9]


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
    assert policy.layout is Layout.SHARED
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
    batch, grad_S = rows(LENGTHS, common=COMMON if layout is Layout.SHARED else 0)
    without = policy_reference(Policy(model, layout=layout), [batch], grad_S)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert model.get_base_model().is_gradient_checkpointing
    assert max(difference(policy_reference(Policy(model, layout=layout), [batch], grad_S), without)) < TOLERANCE


@pytest.mark.parametrize("common", [0, COMMON])
def test_bfloat16_weights_are_used_as_they_are(common):
    model = lora(usual()).bfloat16()
    batch, grad_S = rows(LENGTHS, common=common)
    exact = plain_reference(model.float(), batch, grad_S)
    half = policy_reference(Policy(model.bfloat16()), [batch], grad_S)
    assert half.logprob_S.dtype == torch.float32
    assert (half.logprob_S - exact.logprob_S).abs().mean() < 0.05
    assert 1e-6 < difference(half, exact)[1] < 0.3


@pytest.mark.parametrize("common", [0, COMMON])
def test_another_compute_type_goes_through_autocast(common):
    model = usual()
    batch, grad_S = rows(LENGTHS, common=common)
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
    assert [want.value for want in Want] == ["logprobs", "mean", "entropy", "divergence"]


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


@pytest.mark.parametrize("common", [0, COMMON])
def test_a_model_can_be_asked_itself_whether_the_fast_way_is_right(common):
    batch, _ = rows(LENGTHS, common=common)
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


def test_rows_whose_beginnings_do_not_stay_theirs_are_found_in_half_precision_too(monkeypatch):
    batch, _ = rows(LENGTHS, common=COMMON)
    policy = Policy(usual().bfloat16(), layout=Layout.SHARED)
    assert policy.verify(batch) < ALLOWED_HALF_PLAIN

    def meeting(lengths_R, device, common=0):
        return isolation((common + sum(n - common for n in lengths_R),), device)

    monkeypatch.setattr(layouts, "isolation", meeting)
    with pytest.raises(ProofError, match="differs from the plain one"):
        policy.verify(batch)


def batch_of(rows_R: list[list[int]], weights_R: list[list[float]]) -> Batch:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows_R])])
    ids_T, weight_T = (np.concatenate(it) for it in (rows_R, weights_R))
    return Batch(ids_T.astype(np.int32), weight_T.astype(np.float32), offsets, np.arange(len(rows_R)))


def assert_same(policy: Policy, batch: Batch) -> None:
    """As in the plain forward, with a gradient of its own for each log-probability."""
    grad_S = torch.randn(int((batch.weight_T > 0).sum()), generator=torch.Generator().manual_seed(0))
    reference = plain_reference(policy.module, batch, grad_S)
    assert reference.logprob_S.numel() > 3
    assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE


def test_a_common_beginning_is_found_and_each_row_goes_on_from_it():
    weights_R = [[0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    batch = batch_of([[7, 8, 9, 3, 4], [7, 8, 9, 3, 5, 6], [7, 8, 9, 5, 5, 4]], weights_R)
    found = supervised(batch, torch.device("cpu"))
    assert found.lengths_R == (4, 4, 5)
    assert found.common == 3
    given = isolation(found.lengths_R, torch.device("cpu"), found.common)
    assert given["position_ids"].tolist() == [[0, 1, 2, 3, 3, 3, 4]]
    assert given["cu_seq_lens_q"].tolist() == [0, 3, 4, 5, 7]
    assert given["cu_seq_lens_k"].tolist() == [0, 3, 7, 11, 16]
    assert (given["max_length_q"], given["max_length_k"]) == (3, 5)
    assert laid(Policy(usual()), batch) == [(1, 7)]
    assert_same(Policy(usual()), batch)


def test_what_rows_begin_with_is_computed_once_and_is_still_right():
    batch, grad_S = rows(LENGTHS, common=COMMON)
    model = usual()
    reference = plain_reference(model, batch, grad_S)
    policy = Policy(model, layout=Layout.SHARED)
    assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE
    common = supervised(batch, torch.device("cpu")).common
    assert common == COMMON - 1  # the shortest row has one token more, whose own state nobody reads
    assert laid(policy, batch) == [(1, needed(batch) - (len(LENGTHS) - 1) * common)]
    assert laid(Policy(model, layout=Layout.PACKED), batch) == [(1, needed(batch))]


@pytest.mark.parametrize("window", [2, COMMON, 2 * COMMON])
def test_a_window_reaches_into_the_common_beginning(window):
    model = tiny_model("mistral", attention=None, sliding_window=window)
    assert model.config.sliding_window == window
    batch, grad_S = rows([9, 12, 3], common=COMMON)
    reference = plain_reference(tiny_model("mistral", sliding_window=window), batch, grad_S)
    policy = Policy(model, layout=Layout.SHARED)
    assert max(difference(policy_reference(policy, [batch], grad_S), reference)) < TOLERANCE


@pytest.mark.parametrize("beginning", [3, 9])
def test_a_common_beginning_may_hold_supervised_tokens(beginning):
    rows_R = [[*range(10, 10 + beginning), *own] for own in ([3, 4, 5], [6], [7, 8, 9, 4, 4])]
    batch = batch_of(rows_R, [[0, *[1] * (len(row) - 1)] for row in rows_R])
    policy = Policy(usual())
    assert supervised(batch, torch.device("cpu")).common == beginning - 1
    assert laid(policy, batch) == [(1, needed(batch) - 2 * (beginning - 1))]
    assert_same(policy, batch)


def test_supervised_tokens_of_the_beginning_may_differ_from_row_to_row():
    rows_R = [[10, 11, 12, 13, 14, 3, 4], [10, 11, 12, 13, 14, 5, 6], [10, 11, 12, 13, 14, 7]]
    weights_R = [[0, 1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0, 1], [0, 0, 1, 1, 0, 1]]
    assert_same(Policy(usual()), batch_of(rows_R, weights_R))


def test_a_row_whose_last_supervised_token_lies_in_the_beginning_of_the_others_ends_there():
    rows_R = [[10, 11, 12, 13, 14, 3, 4], [10, 11, 12, 13, 14, 5, 6], [10, 11, 12, 13, 14, 7]]
    weights_R = [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]]
    batch = batch_of(rows_R, weights_R)
    assert supervised(batch, torch.device("cpu")).common == 2
    assert_same(Policy(usual()), batch)


@pytest.mark.parametrize("count", [2, 3])
def test_rows_that_are_equal_to_each_other_share_all_but_their_last_token(count):
    row, weights = [10, 11, 12, 13, 14, 3, 4], [0, 0, 1, 0, 1, 1, 1]
    batch = batch_of([row] * count, [weights] * count)
    policy = Policy(usual())
    assert laid(policy, batch) == [(1, 5 + count)]
    assert_same(policy, batch)


def test_a_row_that_is_the_beginning_of_another_is_right():
    rows_R = [[10, 11, 12], [10, 11, 12, 13, 14, 3, 4]]
    batch = batch_of(rows_R, [[0, 1, 1], [0, 0, 0, 1, 1, 1, 1]])
    assert laid(Policy(usual()), batch) == [(1, 1 + 1 + 5)]
    assert_same(Policy(usual()), batch)


def test_rows_of_a_single_token_before_the_supervised_one_share_nothing():
    batch = batch_of([[10, 3], [10, 4], [10, 5, 6, 7]], [[0, 1], [0, 1], [0, 1, 1, 1]])
    assert laid(Policy(usual()), batch) == [(1, needed(batch))]
    assert_same(Policy(usual()), batch)


def test_a_row_that_nobody_learns_from_does_not_count_for_the_common_beginning():
    rows_R = [[10, 11, 12, 3, 4], [9, 9, 9], [10, 11, 12, 5, 6]]
    batch = batch_of(rows_R, [[0, 0, 1, 1, 1], [0, 0, 0], [0, 0, 0, 1, 1]])
    assert laid(Policy(usual()), batch) == [(1, 3 + 1 + 1)]
    assert_same(Policy(usual()), batch)


def test_a_batch_of_one_row_is_laid_in_full():
    batch, _ = rows([14], common=COMMON)
    policy = Policy(usual())
    assert supervised(batch, torch.device("cpu")).common == 0
    assert laid(policy, batch) == [(1, needed(batch))]
    assert_same(policy, batch)


def test_with_dropout_at_work_every_row_is_laid_in_full():
    batch, _ = rows(LENGTHS, common=COMMON)
    whole, less = [(1, needed(batch))], [(1, needed(batch) - (len(LENGTHS) - 1) * (COMMON - 1))]
    dropping = Policy(lora(usual(), lora_dropout=0.1))
    assert dropping.layout is Layout.SHARED
    assert laid(dropping, batch) == whole
    dropping.module.eval()
    assert laid(dropping, batch) == less
    assert laid(Policy(lora(usual())), batch) == less
    assert laid(Policy(lora(usual(), lora_dropout=0.0)), batch) == less


def test_dropout_of_attention_scores_lays_every_row_in_full_too():
    batch, _ = rows(LENGTHS, common=COMMON)
    policy = Policy(usual(attention_dropout=0.1))
    assert laid(policy, batch) == [(1, needed(batch))]
    policy.module.eval()
    assert laid(policy, batch) == [(1, needed(batch) - (len(LENGTHS) - 1) * (COMMON - 1))]


def test_whoever_wants_no_sharing_gets_packed_rows():
    batch, _ = rows(LENGTHS, common=COMMON)
    policy = Policy(usual(), sharing=False)
    assert policy.layout is Layout.PACKED
    assert laid(policy, batch) == [(1, needed(batch))]
    assert policy.describe() == "llama: packed rows, head at supervised tokens in chunks"
    assert_same(policy, batch)
    with pytest.raises(OurFault, match="not proven"):
        Policy(usual(), sharing=False, layout=Layout.SHARED)


def test_the_way_taken_is_told():
    head = "head at supervised tokens in chunks"
    assert Policy(usual()).describe() == f"llama: packed rows, a common beginning once, {head}"
    for layout in (Layout.PACKED, Layout.PADDED):
        assert Policy(usual(), layout=layout).describe() == f"llama: {layout.value} rows, {head}"
