"""Every optimizer: it trains, it goes on from a checkpoint to the bit, and its rate and decay are the run's."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from llama_factory.config.optimizers import MODULES, NAMES, OPTIMIZERS, state_bytes
from llama_factory.errors import InputError
from llama_factory.trainer.masters import Masters
from llama_factory.trainer.optimizers import MAKERS, Optimizer
from llama_factory.trainer.plan import Blocks, FitPlan, LowRank

LOW = LowRank(rank=4, update_interval=3)
CASES: Mapping[str, dict[str, Any]] = {
    "adafactor": {},
    "adafactor, momentum": {"optim_args": {"beta1": 0.9}},
    "adagrad": {"learning_rate": 1e-2},
    "adam_mini": {},
    "adamw": {},
    "apollo_adamw": {"low_rank": LOW},
    "apollo_adamw, svd": {"low_rank": LowRank(rank=4, update_interval=3, proj="svd", scale_front=True)},
    "apollo_adamw, tensor": {"low_rank": LowRank(rank=1, update_interval=3, scale=128.0, scale_type="tensor")},
    "badam_layer": {"blocks": Blocks(switch_interval=3)},
    "badam_layer, random": {"blocks": Blocks(switch_interval=2, switch_mode="random")},
    "badam_layer, fixed": {"blocks": Blocks(switch_interval=-1, switch_mode="fixed", start_block=1)},
    "badam_ratio": {"blocks": Blocks(switch_interval=3, update_ratio=0.3)},
    "badam_ratio, scatter": {"blocks": Blocks(switch_interval=3, update_ratio=0.3, mask_mode="scatter")},
    "galore_adafactor": {"low_rank": LOW},
    "galore_adamw": {"low_rank": LOW},
    "galore_adamw, full": {"low_rank": LowRank(rank=4, update_interval=3, proj_type="full")},
    "galore_adamw, some": {"low_rank": LowRank(rank=4, update_interval=3, targets=("q_proj", "mlp"))},
    "lion": {"learning_rate": 3e-4, "adam_beta2": 0.99},
    "muon": {},
    "rmsprop": {"optim_args": {"momentum": 0.9}},
    "schedule_free_adamw": {},
    "schedule_free_radam": {"adam_beta2": 0.9},
    "schedule_free_sgd": {"learning_rate": 0.5},
    "sgd": {"learning_rate": 0.5, "optim_args": {"momentum": 0.9, "nesterov": True}},
}
IDS_BT = torch.arange(2, 34).view(2, 16) % 23


@pytest.fixture(scope="module", autouse=True)
def what_is_loaded_already_is_not_looked_through() -> Iterator[None]:
    """badam collects garbage at every change of its block: half a second among all that the tests have imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Run:
    """A tiny Llama, trained as the loop does it, without the loop."""

    def __init__(self, case: str, *, dtype: torch.dtype = torch.float32, master: str = "float32", **more: Any) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=23, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, attention_bias=True, tie_word_embeddings=False,
        )  # fmt: skip
        self.model = LlamaForCausalLM(config).to(dtype)
        plan = {"learning_rate": 3e-3, "weight_decay": 0.1, **CASES[case], **more}
        self.plan = FitPlan(optim=case.split(",")[0], **plan)
        self.masters = Masters(dict(self.model.named_parameters()), master_dtype=master).__enter__()
        self.optimizer = Optimizer(self.masters, self.model, self.plan)

    def loss(self) -> Tensor:
        return self.model(input_ids=IDS_BT, labels=IDS_BT).loss

    def steps(self, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            loss = self.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            norm = self.masters.gradient_norm()
            assert norm > 0
            self.masters.clip(norm, 1.0)
            self.optimizer.step(self.plan.learning_rate)
            self.masters.forget_gradients()
            self.masters.to_working()
            losses.append(loss.item())
        return losses

    def saved(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
        """As a checkpoint holds it."""
        state, facts = self.optimizer.state()
        tensors = {key: value.detach().contiguous().clone() for key, value in state.items()}
        memory = [value.untyped_storage().data_ptr() for value in state.values() if value.numel()]
        assert len(memory) == len(set(memory))
        facts = json.loads(json.dumps(facts, allow_nan=False))
        return {name: value.clone() for name, value in self.masters.tensors().items()}, tensors, facts

    def load(self, masters: dict[str, Tensor], tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        self.masters.load(masters)
        self.optimizer.load(tensors, facts)


def test_there_is_a_maker_for_every_kind_and_a_kind_for_every_name() -> None:
    assert sorted(MAKERS) == sorted(OPTIMIZERS)
    assert set(NAMES.values()) <= set(OPTIMIZERS)
    assert {facts.library for facts in OPTIMIZERS.values()} - {""} == set(MODULES)
    others = {kind for kind, facts in OPTIMIZERS.items() if facts.library == "bitsandbytes"}
    assert {case.split(",")[0] for case in CASES} | others == set(MAKERS)


@pytest.mark.parametrize("case", CASES)
def test_it_learns(case: str) -> None:
    losses = Run(case).steps(20)
    assert losses[-1] < losses[0] - 0.02


@pytest.mark.parametrize("kind", ["own masters", "bf16", "pure_bf16"])
@pytest.mark.parametrize("case", CASES)
def test_going_on_from_a_checkpoint_is_the_same_to_the_bit(case: str, kind: str) -> None:
    """7 steps, saved, loaded into new objects, 6 more equal 13; a projection or block changes in each half."""
    how: dict[str, Any] = {
        "own masters": {},
        "bf16": {"dtype": torch.bfloat16},
        "pure_bf16": {"dtype": torch.bfloat16, "master": "bfloat16"},
    }[kind]
    whole, first, second = Run(case, **how), Run(case, **how), Run(case, **how)
    torch.manual_seed(1)
    whole.steps(13)
    torch.manual_seed(1)
    first.steps(7)
    random = torch.get_rng_state()
    second.load(*first.saved())
    torch.set_rng_state(random)
    second.steps(6)
    masters, tensors, facts = whole.saved()
    again, tensors_again, facts_again = second.saved()
    assert facts == facts_again
    assert tensors.keys() == tensors_again.keys()
    for key, value in tensors.items():
        assert torch.equal(value, tensors_again[key]), key
    for name, value in masters.items():
        assert torch.equal(value, again[name]), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


@pytest.mark.parametrize("case", CASES)
def test_a_rate_of_zero_moves_nothing(case: str) -> None:
    run = Run(case)
    before = {name: value.clone() for name, value in run.masters.tensors().items()}
    run.loss().backward()  # type: ignore[no-untyped-call]
    run.optimizer.step(0.0)
    for name, value in run.masters.tensors().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("badam")])
def test_a_group_moves_at_its_own_multiple_of_the_rate(case: str) -> None:
    """The factor 0 is the plainest: what has it stays where it is."""
    name, other = "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"
    run = Run(case, rate_factors={name: 0.0}, weight_decay=0.0)
    start = {one: run.masters.tensors()[one].clone() for one in (name, other)}
    run.steps(8)
    assert torch.equal(run.masters.tensors()[name], start[name])
    assert not torch.equal(run.masters.tensors()[other], start[other])


def test_the_averaged_weights_are_shown_saved_and_kept_while_training_stands_elsewhere() -> None:
    run, left_alone = Run("schedule_free_adamw"), Run("schedule_free_adamw")
    run.steps(9), left_alone.steps(9)
    with torch.no_grad(), run.optimizer.evaluating():
        averaged = run.loss().item()
        inside = {name: value.clone() for name, value in run.model.state_dict().items()}
    for name, value in run.optimizer.result().items():
        assert torch.equal(value, inside[name])
    assert averaged != run.loss().item()
    run.steps(4), left_alone.steps(4)
    for name, value in left_alone.masters.tensors().items():
        assert torch.equal(value, run.masters.tensors()[name])
    by_package = left_alone.optimizer._engine._parts[0]
    expected = run.optimizer.result()
    by_package.eval()
    for name, value in left_alone.masters.tensors().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    run.optimizer.settle()
    assert all(torch.equal(run.model.state_dict()[name], value) for name, value in expected.items())


def test_badam_trains_one_layer_at_a_time_and_the_others_ask_for_no_gradient() -> None:
    run = Run("badam_layer", blocks=Blocks(switch_interval=3, said=True))
    start = {name: value.clone() for name, value in run.masters.tensors().items()}
    asks = {name for name, value in run.model.named_parameters() if value.requires_grad}
    assert asks
    assert all(name.startswith("model.layers.0.") for name in asks)
    assert [note.values["block"] for note in run.optimizer.said()] == [0]
    run.steps(2)
    assert [note.values["block"] for note in run.optimizer.said()] == [1]
    moved = {name for name, value in run.masters.tensors().items() if not torch.equal(value, start[name])}
    assert moved == asks
    state, _ = run.optimizer.state()
    assert not state
    run.steps(1)
    assert {key.partition("/")[2].split(".")[2] for key in run.optimizer.state()[0]} == {"1"}


def test_galore_and_apollo_keep_no_more_than_their_rank_of_a_matrix() -> None:
    for case in ("galore_adamw", "apollo_adamw", "apollo_adamw, svd", "galore_adafactor"):
        run = Run(case)
        run.steps(2)
        name = "model.layers.0.mlp.up_proj.weight"
        shape = tuple(run.masters.values[name].shape)
        kept = sum(
            value.untyped_storage().nbytes()
            for entry in run.optimizer._engine._parts[0].state[run.masters.values[name]].values()
            for value in (vars(entry).values() if hasattr(entry, "ortho_matrix") else [entry])
            if isinstance(value, Tensor) and value.ndim
        )
        assert kept == state_bytes(case.split(",")[0], shape, rank=4)


def test_what_is_known_of_memory_is_what_an_optimizer_keeps() -> None:
    checked = 0
    for kind in ("adamw", "adagrad", "lion", "muon", "adam_mini", "adafactor", "rmsprop", "schedule_free_adamw"):
        run = Run(kind, optim_args={})
        run.steps(2)
        for name, value in run.masters.values.items():
            kept = sum(
                one.numel() * one.element_size()
                for key, one in run.optimizer.state()[0].items()
                if key.partition("/")[2] == name and one.numel() > 1
            )
            if value.ndim == 2 and "layers" in name:
                expected = state_bytes(kind, tuple(value.shape))
                if kind == "adam_mini" and ("q_proj" in name or "k_proj" in name):  # one a head, not one a row
                    assert kept < expected
                else:
                    assert kept == expected, (kind, name)
                checked += 1
    assert checked == 8 * 21


def test_a_rank_that_saves_nothing_and_a_target_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="not smaller than the shorter side") as caught:
        Run("galore_adamw", low_rank=LowRank(rank=16))
    assert caught.value.where.startswith("model.layers.0.")
    with pytest.raises(InputError, match="q_proj") as caught:
        Run("apollo_adamw", low_rank=LowRank(rank=2, targets=("q_prjo",)))
    assert caught.value.id == "trainer.no-optimizer-target"


def test_a_start_block_that_is_not_there_and_weights_without_layers_are_refused() -> None:
    with pytest.raises(InputError, match="block 3 of 3"):
        Run("badam_layer", blocks=Blocks(start_block=3))
    module = nn.Sequential()
    module.weight = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(InputError) as caught:
        Optimizer(Masters({"weight": module.weight}), module, FitPlan(optim="badam_layer"))
    assert caught.value.id == "trainer.no-blocks"


def test_the_state_of_another_optimizer_is_refused() -> None:
    run, other = Run("galore_adamw"), Run("adamw")
    run.steps(2)
    with pytest.raises(InputError) as caught:
        other.load(*run.saved())
    assert caught.value.id == "trainer.other-optimizer-state"


def test_adam_mini_counts_heads_as_wide_as_the_model_says() -> None:
    run = Run("adam_mini")
    run.steps(1)
    state, _ = run.optimizer.state()
    assert state["vmean/model.layers.0.self_attn.q_proj.weight"].shape == (4, 1)
    assert state["vmean/model.layers.0.self_attn.k_proj.weight"].shape == (2, 1)
    assert state["vmean/model.embed_tokens.weight"].shape == (23, 1)
