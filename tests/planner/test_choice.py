"""Which method is chosen, and what is changed where none fits."""

from __future__ import annotations

from dataclasses import replace

from llama_factory.planner.choice import FEW_ROWS, NAMES, WIDTHS, Room, Way, changes, choose, every_way, of
from llama_factory.planner.known import KNOWN
from llama_factory.planner.setup import Setup
from llama_factory.planner.shape import read_shape
from llama_factory.planner.speed import of_card

SEVEN = read_shape(KNOWN["qwen2.5-7b"].config)
BASE = Setup(cpu=False, lengths=(1024,))
GB = 1e9


def chosen(room: Room, base: Setup = BASE) -> Way | None:
    table = every_way(SEVEN, base, room)
    return choose(SEVEN, [one for line in table for one in line if one], room)


def test_every_method_stands_at_every_width_that_it_has() -> None:
    table = every_way(SEVEN, BASE, Room(memory=1e12))
    assert len(table) == len(NAMES) == 5
    assert [len(line) for line in table] == [len(WIDTHS)] * 5
    assert sum(one is not None for line in table for one in line) == 2 + 1 + 6 + 6 + 2


def test_much_memory_takes_all_weights_some_takes_lora_little_takes_fewer_bits() -> None:
    found = [chosen(Room(memory=size * GB)) for size in (300, 48, 16, 12)]
    assert [(one.name, one.setup.bits) for one in found if one] == [
        ("full", 16), ("lora", 16), ("lora", 8), ("lora", 4),
    ]  # fmt: skip
    assert chosen(Room(memory=2 * GB)) is None


def test_a_fifth_is_kept_free() -> None:
    need = of(SEVEN, BASE, Room(memory=0)).total
    assert of(SEVEN, BASE, Room(memory=need / 0.79)).fits(Room(memory=need / 0.79))
    assert not of(SEVEN, BASE, Room(memory=need / 0.81)).fits(Room(memory=need / 0.81))


def test_few_rows_prefer_adapters_though_all_weights_would_fit() -> None:
    few, many = chosen(Room(memory=300 * GB, rows=FEW_ROWS - 1)), chosen(Room(memory=300 * GB, rows=FEW_ROWS))
    assert few is not None
    assert many is not None
    assert (few.name, many.name) == ("lora", "full")


def test_a_time_budget_takes_what_is_ready_in_time() -> None:
    room = Room(memory=300 * GB, rates=of_card("a100"), tokens=10_000 * 1024)
    free = chosen(room)
    assert free is not None
    assert free.hours is not None
    hurried = chosen(replace(room, hours=free.hours * 0.8))
    assert hurried is not None
    assert hurried.hours is not None
    assert hurried.name == "lora"
    assert hurried.hours <= free.hours * 0.8
    assert chosen(replace(room, hours=free.hours / 1000)) is None


def test_the_same_method_with_less_at_a_time_comes_before_a_lesser_method() -> None:
    wide = replace(BASE, lengths=(1024,) * 8)
    tight = of(SEVEN, replace(BASE, checkpointing=True), Room(memory=0)).total / 0.8 + 1
    found = chosen(Room(memory=tight), wide)
    assert found is not None
    assert (found.name, found.setup.bits, found.setup.lengths, found.setup.checkpointing) == ("lora", 16, (1024,), True)
    assert found.setup.micro_batches == 8


def test_one_change_is_told_alone_where_it_is_enough() -> None:
    full = replace(BASE, lengths=(1024,) * 4)
    need = of(SEVEN, replace(BASE), Room(memory=0)).total
    found = changes(SEVEN, full, Room(memory=need / 0.8 + 1), cutoff=1024, quantises=True)
    assert [one.id for one in found.each][:1] == ["micro-batch"]
    assert not found.together
    assert len(found.each) <= 3
    assert all(one.way.total <= need + 1 for one in found.each)
    assert found.keys == {"micro_batch_tokens": 1024}


def test_changes_are_taken_together_where_no_single_one_is_enough() -> None:
    start = replace(BASE, method="full", lengths=(1024,) * 4)
    room = Room(memory=16 * GB)
    found = changes(SEVEN, start, room, cutoff=1024, quantises=True)
    assert found.together
    assert [one.id for one in found.each] == ["micro-batch", "checkpointing", "lora", "four-bit"]
    totals = [one.way.total for one in found.each]
    assert totals == sorted(totals, reverse=True)
    assert found.each[-1].way.fits(room)
    assert set(found.keys) == {
        "micro_batch_tokens", "gradient_checkpointing", "finetuning_type", "lora_rank", "quantization_bit",
    }  # fmt: skip


def test_what_cannot_be_quantised_here_is_not_advised() -> None:
    found = changes(SEVEN, BASE, Room(memory=8 * GB), cutoff=1024, quantises=False)
    assert "four-bit" not in [one.id for one in found.each]
