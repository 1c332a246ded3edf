"""Memory and time: counted by hand for a small model, and never going the wrong way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_factory.planner import activations
from llama_factory.planner.activations import computed_scores, kept, kept_scores
from llama_factory.planner.known import KNOWN
from llama_factory.planner.memory import (
    HOLES,
    LAID_OUT_SHARE,
    PARTS,
    PLACES,
    REMADE,
    laid_out,
    memory,
    would_lay_out,
)
from llama_factory.planner.process import kernels
from llama_factory.planner.setup import HALF, PROMPTS, SINGLE, Setup, running_layers, trained, with_blocks
from llama_factory.planner.shape import read_shape
from llama_factory.planner.sharding import DIVIDED, sharded
from llama_factory.planner.speed import (
    CARDS,
    KERNEL_S,
    Rates,
    head_operations,
    of_card,
    operations,
    step_seconds,
    work,
)
from llama_factory.records import ModelShape

RATES = Rates(1e11, 1e10)
SHAPES = {name: read_shape(KNOWN[name].config) for name in ("smollm2-135m", "qwen3-30b-a3b", "phi-2", "gemma-2-2b")}


def test_what_is_trained_by_hand(small: ModelShape) -> None:
    layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 20 + 2 * 8
    assert trained(small, Setup(method="full")) == small.parameters
    assert trained(small, Setup(method="freeze", layers=2)) == 2 * layer
    assert trained(small, Setup(method="freeze", layers=-1)) == layer
    sides = (8 + 8) + 2 * (8 + 4) + (8 + 8) + 2 * (8 + 20) + (20 + 8)
    assert trained(small, Setup(method="lora", rank=5)) == 3 * 5 * sides
    assert trained(small, Setup(method="lora", rank=5, targets=("q_proj", "v_proj"))) == 3 * 5 * (16 + 12)
    assert trained(small, Setup(method="oft", block=4, targets=("q_proj",))) == 3 * (8 // 4) * 6


def test_state_by_hand(small: ModelShape) -> None:
    whole = small.parameters
    mixed = memory(small, Setup(method="full", number=HALF))
    assert (mixed.weights, mixed.masters, mixed.gradients, mixed.optimiser) == (
        2 * whole, 4 * whole, 4 * whole, 8 * whole,
    )  # fmt: skip
    single = memory(small, Setup(method="full", number=SINGLE, bits=32))
    assert (single.weights, single.masters, single.gradients) == (4 * whole, 0, 4 * whole)
    pure = memory(small, Setup(method="full", master=HALF, state=2 * HALF))
    assert pure.weights + pure.masters + pure.gradients + pure.optimiser == 8 * whole


def test_frozen_weights_in_few_bits_by_hand(small: ModelShape) -> None:
    inside = 3 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 20)
    whole = Setup(method="lora", targets=("q_proj",), rank=1)
    plain = memory(small, whole).weights
    for bits, each in ((8, 1.0), (4, 0.5 + 1 / 64 + 4 / 64 / 256), (3, 0.4 + 4 / 64), (2, 0.25 + 4 / 64)):
        found = memory(small, replace(whole, bits=bits)).weights
        assert plain - found == pytest.approx(inside * (2 - each), abs=1)
    assert plain - memory(small, replace(whole, bits=4, each=0.75)).weights == inside * (2 - 0.75)


def test_kept_for_the_backward_by_hand(small: ModelShape) -> None:
    softmax = 4 * (10 * (10 + 128) // 2)
    lora = 10 * (4 * 8 + 2 * 8 + 2 * 4 + 2 * 20 + 7 * 5) + softmax
    setup = Setup(lengths=(10,), rank=5)
    assert kept(small, setup) == 3 * 2 * lora
    spread = 10 * 4 * 8 - softmax  # of torch's own attention in fp32: keys and values for every head, and no P
    assert kept(small, replace(setup, number=SINGLE, checkpointing=True)) == 4 * (3 * 10 * 8 + lora + spread)
    full = 10 * (4 * 8 + 2 * 8 + 2 * 4 + 2 * 20) + softmax
    assert kept(small, replace(setup, method="full")) == 3 * 2 * full
    assert kept(small, replace(setup, method="freeze", layers=1)) == 2 * full
    assert kept(small, replace(setup, method="freeze", layers=0)) == 0
    library = full + 10 * 2 * 20  # silu and h of an MLP that is not in one piece, and two norms' copies in fp32
    assert kept(small, replace(setup, method="full", fused=False)) == 3 * (2 * library + 4 * 10 * 2 * 8)
    rotated = library + 10 * (3 * 8 + 8 + 2 * 8 + 20)  # of every adapted layer its rotated input
    assert kept(small, replace(setup, method="oft")) == 3 * 2 * rotated
    assert kept(small, replace(setup, bits=4)) == 3 * 2 * (lora + 10 * 2 * 20)
    long = Setup(lengths=(10, 2000))
    assert kept_scores(small, long) == softmax + 4 * 128 * (128 + 256 + 384 + 512)
    assert computed_scores(small, long) == softmax + 4 * 2000 * (2000 + 128) // 2


def test_compiled_kernels_keep_one_number_a_query_and_no_softmax(small: ModelShape) -> None:
    narrow, wide = Setup(lengths=(10,), native=True), replace(small, key_width=16, value_width=16)
    assert kept(small, narrow) == kept(small, replace(narrow, native=False)), "heads of 2 numbers are not theirs"
    softmax = 4 * (10 * (10 + 128) // 2)
    plain = kept(wide, replace(narrow, native=False))
    assert kept(wide, narrow) == plain - 3 * 2 * softmax + 3 * 4 * 4 * 10
    assert kernels(wide, replace(narrow, native=False)) - kernels(wide, narrow) == 6
    rounded = replace(narrow, rounds=True)
    assert kept(wide, rounded) == plain, "layers that round what they read are given torch's bits"
    assert memory(wide, rounded) == memory(wide, replace(rounded, native=False))
    assert memory(wide, narrow).total < memory(wide, replace(narrow, native=False)).total
    single = replace(narrow, number=SINGLE)
    assert memory(wide, single) == memory(wide, replace(single, native=False)), "they are for bf16"


def test_the_constants_are_those_of_our_layers() -> None:
    from llama_factory.model import frozen, head, isolated
    from llama_factory.model.native import attention as native_attention

    assert (activations.BLOCK, activations.KEPT_KEYS) == (isolated.BLOCK, isolated.KEPT_KEYS)
    assert (activations.CHUNK_ROWS, activations.FLAT_ROWS) == (head.CHUNK_ROWS, head.FLAT_ROWS)
    assert activations.KEPT_BYTES == head.KEPT_BYTES
    assert LAID_OUT_SHARE == frozen.SHARE
    assert native_attention.LANES == activations.LANES
    for size, free in ((100, 1599), (100, 1600), (0, 5)):
        assert would_lay_out(size, free) == frozen.would_take(size, free)


def test_weights_are_laid_out_only_where_they_are_frozen_in_bf16_on_a_processor_with_room() -> None:
    shape, setup = SHAPES["smollm2-135m"], Setup(free=32 * 10**9)
    assert laid_out(shape, setup) == pytest.approx(2 * 2 * shape.parameters, rel=0.01)
    for other in (
        {"free": 10**9},
        {"cpu": False},
        {"number": SINGLE},
        {"method": "full"},
        {"fused": False},
        {"bits": 4},
    ):
        assert laid_out(shape, replace(setup, **other)) == 0  # type: ignore[arg-type]


def test_operations_by_hand(small: ModelShape) -> None:
    active, head = small.active, 50 * 8
    attention = 2 * 3 * computed_scores(small, Setup(lengths=(10,))) * 4
    whole = Setup(method="full", lengths=(10,), supervised=0.5)
    assert operations(small, whole) == 6 * 10 * active + 2 * attention
    assert head_operations(small, whole) == 6 * 5 * head
    adapters = trained(small, Setup(rank=5))
    lora = operations(small, Setup(rank=5, lengths=(10,), supervised=0.5))
    assert lora == 4 * 10 * active + 2 * attention + 6 * 10 * adapters
    assert head_operations(small, Setup(lengths=(10,), supervised=0.5)) == 4 * 5 * head
    again = operations(small, Setup(rank=5, lengths=(10,), supervised=0.5, checkpointing=True))
    assert again == lora + 2 * 10 * active + attention + 2 * 10 * adapters


def test_holes_by_hand(small: ModelShape) -> None:
    setup = Setup(method="full", lengths=(10,))
    found = memory(small, setup)
    passing = found.activations + found.logits + found.buffers
    sums = 4 * small.parameters
    assert found.holes == int(HOLES[HALF] * passing + PLACES * 10 * 20 * HALF + REMADE * sums)
    frozen = memory(small, replace(setup, method="lora"))
    passing = frozen.activations + frozen.logits + frozen.buffers
    learned = REMADE * 4 * trained(small, replace(setup, method="lora"))
    assert frozen.holes == int(HOLES[HALF] * passing + PLACES * 10 * 20 * HALF + learned)
    exact = memory(small, replace(setup, number=SINGLE, bits=32))
    assert exact.holes == int(HOLES[SINGLE] * (exact.activations + exact.logits + exact.buffers))


def test_kernels_are_made_for_every_width_and_both_ways(small: ModelShape) -> None:
    widths = 4  # 8 x 8, 8 x 4, 8 x 20, 20 x 8
    assert kernels(small, Setup(lengths=(10,))) == 8 * widths + 6
    assert kernels(small, Setup(method="full", lengths=(300, 10))) == 3 * widths + 6 * 3
    assert kernels(small, Setup(number=SINGLE)) == kernels(small, Setup(cpu=False)) == 0
    made = work(small, Setup(lengths=(10,), micro_batches=3))
    assert made.kernels == 3 * kernels(small, Setup(lengths=(10,)))
    assert made.seconds(RATES) - replace(made, kernels=0).seconds(RATES) == pytest.approx(made.kernels * KERNEL_S)


def test_checkpointing_makes_the_layers_once_more_and_not_the_head(small: ModelShape) -> None:
    plain = work(small, Setup(lengths=(10,)))
    again = work(small, Setup(lengths=(10,), checkpointing=True))
    assert plain.operations < again.operations < 1.5 * plain.operations
    assert again.moved == pytest.approx(plain.moved * 4 / 3)
    assert (again.head, again.rest) == (plain.head, plain.rest)


def test_sharding_divides_what_the_paper_says() -> None:
    shape = SHAPES["smollm2-135m"]
    whole = memory(shape, Setup(method="full", cpu=False))
    state = 12 * shape.parameters  # of the paper's K = 12: masters and two moments
    assert whole.total - sharded(whole, "zero1", 4, shape, 2).total == pytest.approx(state * 3 / 4)
    assert sharded(whole, "zero2", 4, shape, 2).gradients == shape.parameters
    assert sharded(whole, "fsdp", 4, shape, 2) == sharded(whole, "zero3", 4, shape, 2)
    assert sharded(whole, "ddp", 4, shape, 2) == whole
    for kind in DIVIDED:
        assert sharded(whole, kind, 1, shape, 2) == whole
    sizes = [sharded(whole, kind, 8, shape, 2).total for kind in ("ddp", "zero1", "zero2", "zero3")]
    assert sizes == sorted(sizes, reverse=True)


def test_a_card_is_never_faster_than_its_data_sheet() -> None:
    assert len(CARDS) >= 12
    for name, card in CARDS.items():
        assert 0 < of_card(name).products < card.products


setups = st.builds(
    Setup,
    method=st.sampled_from(["full", "freeze", "lora", "oft"]),
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=5).map(tuple),
    rank=st.integers(1, 64),
    layers=st.integers(1, 20),
    checkpointing=st.booleans(),
    fused=st.booleans(),
    number=st.sampled_from([HALF, SINGLE]),
    supervised=st.floats(0.01, 1.0),
    free=st.sampled_from([0, 10**11]),
)


@given(setups, st.sampled_from(sorted(SHAPES)))
def test_more_of_anything_never_takes_less(setup: Setup, name: str) -> None:
    shape = SHAPES[name]
    found = memory(shape, setup)
    assert found.total == sum(getattr(found, part) for part in PARTS)
    assert all(getattr(found, part) >= 0 for part in PARTS)
    longer = tuple(length + 1 for length in setup.lengths)
    for more in ({"rank": setup.rank + 1}, {"layers": setup.layers + 1}, {"lengths": longer}, {"fused": False},
                 {"lengths": (*setup.lengths, 7)}):  # fmt: skip
        larger = replace(setup, **more)  # type: ignore[arg-type]
        without_order = replace(setup, free=0), replace(larger, free=0)
        assert memory(shape, without_order[1]).total >= memory(shape, without_order[0]).total, more
        if "fused" not in more:
            assert step_seconds(shape, larger, RATES) >= step_seconds(shape, setup, RATES), more


@given(setups, st.sampled_from(sorted(SHAPES)))
def test_checkpointing_takes_time_and_no_memory(setup: Setup, name: str) -> None:
    shape, plain = SHAPES[name], replace(setup, checkpointing=False)
    again = replace(setup, checkpointing=True)
    assert step_seconds(shape, again, RATES) >= step_seconds(shape, plain, RATES)
    if setup.method != "freeze":
        assert memory(shape, again).total <= memory(shape, plain).total


@given(st.sampled_from(sorted(SHAPES)), st.integers(1, 64))
def test_weights_in_fewer_bits_never_take_more(name: str, rank: int) -> None:
    shape = SHAPES[name]
    sizes = [memory(shape, Setup(rank=rank, bits=bits, number=HALF)).weights for bits in (2, 4, 8, 16)]
    assert sizes == sorted(sizes)


def test_learned_prompts_by_hand(small: ModelShape) -> None:
    setup = Setup(method=PROMPTS, lengths=(10, 6), before=3, beside=24, supervised=0.5)
    assert (trained(small, setup), setup.tokens, setup.learned) == (24, 22, 8)
    found = memory(small, setup)
    assert found.weights == 2 * small.parameters + 4 * 24
    assert (found.masters, found.gradients, found.optimiser) == (0, 4 * 24, 8 * 24)
    assert found.activations == 3 * 2 * 22 * (4 * 8 + 2 * 8 + 2 * 4 + 2 * 20)
    assert found.logits == 50 * (8 * 4 + 5 * (4 + 2) + 13 * 2)  # all learned tokens, and the longest row's gradients
    assert head_operations(small, setup) == 2 * 2 * 22 * 50 * 8


def test_one_block_at_a_time_has_gradients_and_state_for_that_alone(small: ModelShape) -> None:
    layer = small.layers[0].parameters
    found = memory(small, Setup(method="full", active=layer, state=12.0))
    whole = memory(small, Setup(method="full"))
    assert (found.gradients, found.optimiser, found.masters) == (4 * layer, 12 * layer, whole.masters)
    assert found.logits < whole.logits, "the head rests"


def test_blocks_put_in_learn_and_lie_there(small: ModelShape) -> None:
    six = replace(small, layers=(replace(small.layers[0], count=6),))
    grown = with_blocks(six, 2)
    layer = six.layers[0].parameters
    assert grown.depth == 8
    assert grown.parameters == six.parameters + 2 * layer
    assert with_blocks(six, 0) == six
    setup = Setup(method="freeze", blocks=2, lengths=(10,))
    assert trained(grown, setup) == 2 * layer
    assert running_layers(grown, setup) == 5, "from the first new one on"
    assert kept(grown, setup) == 5 * kept(grown, replace(setup, blocks=0, layers=1))


def test_parts_of_layers_and_a_second_copy_are_counted(small: ModelShape) -> None:
    assert trained(small, Setup(method="freeze", modules=("mlp",))) == 2 * 3 * 8 * 20
    assert trained(small, Setup(method="freeze", modules=("q_proj",), beside=7)) == 2 * 8 * 8 + 7
    twice = memory(small, Setup(method="full", reference=True))
    assert twice.weights - memory(small, Setup(method="full")).weights == 2 * small.parameters
