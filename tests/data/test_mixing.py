"""Mixtures: whose turn it is, how often a row comes, and that the seed alone decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data.mixing import mix
from llama_factory.errors import InputError

SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=4)
STRATEGIES = {
    "interleave_under": "first_exhausted",
    "interleave_over": "all_exhausted",
    "interleave_once": "all_exhausted_without_replacement",
}


def parts(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def mixed(sizes: list[int], strategy: str, shares: tuple[float, ...] = (), seed: int = 7, shuffle: bool = True) -> list:
    names = [f"set{part}" for part in range(len(sizes))]
    return mix(parts(sizes), names, strategy, shares, seed, shuffle=shuffle).tolist()  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, strategy=st.sampled_from(sorted(STRATEGIES)))
def test_strictly_in_turn_is_what_the_field_calls_it(sizes, strategy) -> None:
    """Row for row what `datasets.interleave_datasets` gives without probabilities."""
    datasets = pytest.importorskip("datasets")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    sets = [
        datasets.Dataset.from_dict({"row": list(range(start, start + size))})
        for start, size in zip(starts.tolist(), sizes, strict=False)
    ]
    expected = datasets.interleave_datasets(sets, stopping_strategy=STRATEGIES[strategy])["row"]
    assert mixed(sizes, strategy, shuffle=False) == list(expected)


@settings(max_examples=150, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 99), drawn=st.booleans(), shuffle=st.booleans())
def test_how_often_a_row_comes(sizes, seed, drawn, shuffle) -> None:
    shares = tuple(np.arange(1, len(sizes) + 1) / sum(range(1, len(sizes) + 1))) if drawn else ()
    part_R = parts(sizes)
    every = set(range(len(part_R)))

    under = mixed(sizes, "interleave_under", shares, seed, shuffle)
    assert max(Counter(under).values()) == 1
    taken = Counter(part_R[under].tolist())
    assert any(taken[part] == size for part, size in enumerate(sizes))

    over = mixed(sizes, "interleave_over", shares, seed, shuffle)
    assert set(over) == every
    for part in range(len(sizes)):  # repeated evenly: no row twice more often than another
        times = [count for row, count in Counter(over).items() if part_R[row] == part]
        assert max(times) - min(times) <= 1

    assert sorted(mixed(sizes, "interleave_once", shares, seed, shuffle)) == sorted(every)
    assert mixed(sizes, "concat", shares, seed, shuffle) == sorted(every)


def test_the_seed_decides_and_nothing_else() -> None:
    for strategy in STRATEGIES:
        first = mixed([30, 50, 20], strategy, (0.5, 0.2, 0.3))
        assert first == mixed([30, 50, 20], strategy, (0.5, 0.2, 0.3))
        assert first != mixed([30, 50, 20], strategy, (0.5, 0.2, 0.3), seed=8)


def test_rows_are_drawn_by_their_shares() -> None:
    sizes = [20_000, 20_000, 20_000]
    rows = mixed(sizes, "interleave_under", (0.6, 0.3, 0.1))
    found = np.bincount(parts(sizes)[rows], minlength=3) / len(rows)
    np.testing.assert_allclose(found, [0.6, 0.3, 0.1], atol=0.01)


def test_a_share_that_makes_an_epoch_endless_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        mixed([500, 500], "interleave_over", (1 - 1e-9, 1e-9))
    assert caught.value.id == "data.mixture-endless"
    assert "500,000,000" in caught.value.letter()
    assert caught.value.letter("zh")


def test_a_run_takes_turns_and_says_what_an_epoch_has(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(6)])
    desk.write("b.jsonl", [question(at) for at in range(100, 102)])
    prepared = desk.prepare("a.jsonl,b.jsonl", mix_strategy="interleave_over", disable_shuffling=True)
    firsts = [text.split()[1] for text in desk.texts(prepared.train)]
    assert firsts == [
        "q0", "q100", "q1", "q101", "q2", "q100", "q3", "q101", "q4", "q100", "q5", "q101",
    ]  # fmt: skip
    assert [(one.rows, one.different, one.of) for one in prepared.summary.shares] == [(6, 6, 6), (6, 2, 2)]
    assert "an epoch takes 6 rows of b.jsonl: 2 of its 2" in desk.said
    assert prepared.summary.train_rows == 12


def test_validation_rows_are_drawn_before_rows_are_repeated(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(20)])
    desk.write("b.jsonl", [question(at) for at in range(100, 104)])
    prepared = desk.prepare("a.jsonl,b.jsonl", mix_strategy="interleave_over", val_size=6)
    assert prepared.validation is not None
    assert not set(desk.texts(prepared.train)) & set(desk.texts(prepared.validation))
    assert len(prepared.validation) == 6


def test_a_data_set_that_went_to_validation_whole_is_refused(desk, question) -> None:
    desk.write("a.jsonl", [question(1)])
    desk.write("b.jsonl", [question(at) for at in range(100, 104)])
    with pytest.raises(InputError) as caught:  # one of five rows is left to train on
        desk.prepare("a.jsonl,b.jsonl", mix_strategy="interleave_under", val_size=4)
    assert caught.value.id == "data.mixture-empty"
    assert caught.value.values["name"] in ("a.jsonl", "b.jsonl")
    assert caught.value.letter("en") != caught.value.letter("zh")


def test_rows_that_come_twice_on_purpose_are_no_copies(desk, question) -> None:
    from llama_factory.data import audit

    desk.write("a.jsonl", [question(at) for at in range(6)])
    desk.write("b.jsonl", [question(100), question(101)])
    prepared = desk.prepare("a.jsonl,b.jsonl", mix_strategy="interleave_over")
    assert not audit.audit(prepared)
    desk.write("b.jsonl", [question(100), question(100)])
    prepared = desk.prepare("a.jsonl,b.jsonl", mix_strategy="interleave_over")
    (found,) = audit.audit(prepared)
    assert (found.id, found.values["count"]) == ("data.duplicates", 1)


def test_the_seed_of_the_data_is_its_own(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(40)])

    def judged(**keys) -> list[str]:
        validation = desk.prepare("a.jsonl", val_size=10, **keys).validation
        assert validation is not None
        return desk.texts(validation)

    assert judged(seed=1, data_seed=5) == judged(seed=2, data_seed=5) == judged(seed=5)
    assert judged(data_seed=5) != judged(data_seed=6)


def test_each_data_set_can_be_judged_alone(desk, question) -> None:
    desk.write("a.jsonl", [question(at) for at in range(9)])
    desk.write("b.jsonl", [question(at) for at in range(100, 103)])
    desk.write("c.jsonl", [question(at) for at in range(200, 204)])
    keys = {"eval_on_each_dataset": True}
    prepared = desk.prepare("a.jsonl", eval_dataset="b.jsonl,c.jsonl", **keys)
    assert {name: len(store) for name, store in prepared.validated.items()} == {"eval_b_loss": 3, "eval_c_loss": 4}
    drawn = desk.prepare("a.jsonl,c.jsonl", val_size=8, **keys)
    assert drawn.validation is not None
    assert set(drawn.validated) == {"eval_a_loss", "eval_c_loss"}
    assert sum(map(len, drawn.validated.values())) == len(drawn.validation) == 8
    assert desk.prepare("a.jsonl", eval_dataset="b.jsonl").validated == {}


def test_turns_worked_by_hand() -> None:
    """Data sets of rows 0 1 2, row 3, rows 4 5."""
    assert mixed([3, 1, 2], "interleave_under", shuffle=False) == [0, 3, 4]
    assert mixed([3, 1, 2], "interleave_over", shuffle=False) == [0, 3, 4, 1, 3, 5, 2, 3, 4]
    assert mixed([3, 1, 2], "interleave_once", shuffle=False) == [0, 3, 4, 1, 5, 2]
