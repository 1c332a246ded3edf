"""Packs: every row in exactly one, none too full, the same for a seed, and nothing but the rows of a step changed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from test_batching import rows_of, same, store_of

from llama_factory.data import batches
from llama_factory.data.packing import WINDOW, pack

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def source_of(lengths: list[int], limit: int, *, many: int = 2, seed: int = 3, shuffle: bool = True, budget: int = 40):
    store = store_of(lengths)
    packs = pack(store.lengths, limit, seed, shuffle=shuffle)
    keys = {"rows_per_step": many, "micro_batch_tokens": budget, "seed": seed, "shuffle": shuffle}
    return batches(store, **keys, packs=packs), packs


@settings(max_examples=200, deadline=None)
@given(lengths=LENGTHS, limit=st.integers(1, 64), seed=st.integers(0, 99), shuffle=st.booleans())
def test_every_row_is_in_one_pack_and_no_pack_is_too_full(lengths, limit, seed, shuffle) -> None:
    length_R = np.array(lengths)
    packs = pack(length_R, limit, seed, shuffle=shuffle)
    assert sorted(packs.row_R.tolist()) == list(range(len(lengths)))
    rooms = []
    for number in range(len(packs)):
        rows = packs.rows(np.array([number]))
        assert rows.size
        assert length_R[rows].sum() <= limit or rows.size == 1
        rooms.append(limit - int(length_R[rows].sum()))
    # best fit leaves no two packs that would go into one, rows of one window being packed together
    fits = sorted(room for room in rooms if room > 0)
    assert all(limit - fits[-1] > room for room in fits[:-1])


def test_packs_are_nearly_full() -> None:
    length_R = np.random.default_rng(1).integers(20, 600, 5 * WINDOW)
    packs = pack(length_R, 2048, 1, shuffle=True)
    assert length_R.sum() / (len(packs) * 2048) > 0.99


@settings(max_examples=100, deadline=None)
@given(lengths=LENGTHS, limit=st.integers(30, 90), many=st.integers(1, 4), shuffle=st.booleans())
def test_an_epoch_has_every_row_once_and_a_step_has_its_packs(lengths, limit, many, shuffle) -> None:
    source, packs = source_of(lengths, limit, many=many, shuffle=shuffle)
    assert source.steps_per_epoch == -(-len(packs) // many)
    of_row = np.empty(len(lengths), dtype=int)
    for number in range(len(packs)):
        of_row[packs.rows(np.array([number]))] = number
    for epoch in range(2):
        steps = [source.next_step() for _ in range(source.steps_per_epoch)]
        assert sorted(row for step in steps for row in rows_of(step)) == list(range(len(lengths)))
        for step in steps:
            whole = set(of_row[rows_of(step)].tolist())
            assert len(whole) <= many
            assert sorted(packs.rows(np.array(sorted(whole))).tolist()) == rows_of(step)
            assert step.counts == {"sft": sum(float(one.weight_T.sum()) for one in step.batches)}
        assert steps[-1].epoch == epoch + 1


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, limit=st.integers(30, 90), before=st.integers(0, 30), after=st.integers(1, 20))
def test_a_restored_source_goes_on_with_the_same_steps(lengths, limit, before, after) -> None:
    source, _ = source_of(lengths, limit)
    for _ in range(before):
        source.next_step()
    state = source.state()
    expected = [source.next_step() for _ in range(after)]
    again, _ = source_of(lengths, limit)
    again.restore(state)
    assert all(same(again.next_step(), step) for step in expected)


def test_another_seed_makes_other_packs_and_files_in_order_stay_in_order() -> None:
    lengths = np.random.default_rng(2).integers(1, 30, 200)
    one, other = (pack(lengths, 40, seed, shuffle=True).row_R.tolist() for seed in (1, 2))
    assert one != other
    packs = pack(lengths, 40, 1, shuffle=False)
    firsts = packs.row_R[packs.offsets[:-1]].tolist()
    assert firsts == sorted(firsts)


def test_a_run_with_packs_counts_packs(desk, question) -> None:
    rows = [question(at) for at in range(40)]
    for key in ("packing", "neat_packing"):
        desk.write("train.jsonl", rows)
        prepared = desk.prepare("train.jsonl", cutoff_len=33, **{key: True})
        assert prepared.packs is not None
        assert prepared.units == len(prepared.packs) == prepared.summary.packs < len(prepared.train) == 40
        assert "a step counts packs" in desk.said[-1]
    assert desk.prepare("train.jsonl").units == 40
