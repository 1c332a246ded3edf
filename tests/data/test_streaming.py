"""Streams: every row once an epoch, a bounded piece at a time, and a restore that goes on to the bit."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_batching import same
from test_mixing import mixed

from llama_factory.config import from_mapping
from llama_factory.data import Prepared, StreamSource, prepare
from llama_factory.data.streaming import take_turns
from llama_factory.errors import InputError, LlamaFactoryError
from llama_factory.recipes.wiring import source_of
from llama_factory.records import Step

KEYS = {"streaming": True, "max_steps": 1000, "buffer_size": 10, "per_device_train_batch_size": 4}


@pytest.fixture
def stream(desk):
    """`stream(dataset, **keys)`: what is prepared, and a source over it."""

    def make(dataset: str, **keys) -> tuple[Prepared, StreamSource]:
        given = {"dataset": dataset, "dataset_dir": str(desk.folder), **KEYS, **keys}
        desk.said = []
        run = from_mapping(given, "test")
        prepared = prepare(run, desk.renderer, cache=desk.cache, say=desk.said.append)
        source = source_of(run, prepared, "sft")
        assert isinstance(source, StreamSource)
        return prepared, source

    return make


def firsts(desk, steps: list[Step]) -> list[str]:
    """The questions of some steps, in the order in which they came."""
    return [
        desk.renderer.decode(batch.ids_T[start:end]).split()[1]
        for step in steps
        for batch in step.batches
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ]


def epoch_of(source: StreamSource, number: int) -> list[Step]:
    """All steps of one epoch; the first of the next one is taken and lost."""
    steps = []
    while (step := source.next_step()).epoch == number:
        steps.append(step)
    return steps


def test_every_row_comes_once_an_epoch_and_in_another_order_in_the_next(desk, question, stream) -> None:
    desk.write("a.jsonl", [question(at) for at in range(37)])
    _, source = stream("a.jsonl")
    first = epoch_of(source, 0)
    assert [step.rows for step in first] == [4, 4, 2] * 3 + [4, 3]
    names = firsts(desk, first)
    assert sorted(names) == sorted(f"q{at}" for at in range(37))
    assert {int(name[1:]) // 10 for name in names[:10]} == {0}  # one shard after the other
    assert names[:10] != sorted(names[:10])
    _, again = stream("a.jsonl")
    assert firsts(desk, epoch_of(again, 0)) == names
    _, other = stream("a.jsonl", data_seed=7)
    assert firsts(desk, epoch_of(other, 0)) != names
    epoch_of(again, 1)
    assert all(step.counts["sft"] == sum(float(b.weight_T.sum()) for b in step.batches) for step in first)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"packing": True, "cutoff_len": 22},
        {"val_size": 3},
        {"disable_shuffling": True},
        {"mix_strategy": "interleave_over", "interleave_probs": "0.6,0.4"},
        {"mix_strategy": "interleave_once"},
    ],
    ids=lambda keys: "-".join(keys) or "plain",
)
def test_a_restored_stream_goes_on_to_the_bit_from_every_step(desk, question, stream, keys) -> None:
    desk.write("a.jsonl", [question(at, 1 + at % 5) for at in range(23)])
    desk.write("b.jsonl", [question(at) for at in range(100, 109)])
    _, source = stream("a.jsonl,b.jsonl", **keys)
    states, steps = [], []
    for _ in range(26):
        states.append(json.loads(json.dumps(source.state())))
        steps.append(source.next_step())
    assert steps[-1].epoch >= 1
    for at in (0, 1, 2, 3, 5, 8, 12, 13, 20, 24):
        _, again = stream("a.jsonl,b.jsonl", **keys)
        again.restore(states[at])
        assert all(same(again.next_step(), step) for step in steps[at:])


def test_only_what_is_near_was_rendered(desk, question, stream) -> None:
    desk.write("a.jsonl", [question(at) for at in range(1000)])
    prepared, source = stream("a.jsonl")
    assert desk.renderer.rendered == 10
    assert len(prepared.train) == 10
    for _ in range(6):
        source.next_step()
    assert desk.renderer.rendered == 20
    state = source.state()
    for _ in range(200):
        source.next_step()
    before = desk.renderer.rendered
    _, again = stream("a.jsonl")
    again.restore({**state, **{key: value for key, value in source.state().items() if key in ("shard", "step")},
                   "dataset": source.state()["dataset"]})  # fmt: skip
    assert desk.renderer.rendered == before + 20  # the first shard and the one to go on with
    assert not list(desk.cache.glob("stream-*"))


def test_validation_rows_are_never_trained_on(desk, question, stream) -> None:
    desk.write("a.jsonl", [question(at) for at in range(33)])
    prepared, source = stream("a.jsonl", val_size=4)
    assert prepared.validation is not None
    judged = {text.split()[1] for text in desk.texts(prepared.validation)}
    assert len(judged) == 4
    for epoch in range(2):
        names = firsts(desk, epoch_of(source, epoch))
        assert not judged & set(names)
        assert len(names) >= 25  # the second epoch lacks the step that was lost
    desk.write("b.jsonl", [question(at) for at in range(50, 53)])
    prepared, _ = stream("a.jsonl", eval_dataset="b.jsonl")
    assert prepared.validation is not None
    assert len(prepared.validation) == 3


@pytest.mark.parametrize("sizes", [[3, 1, 2], [7, 7], [1, 9, 4]])
@pytest.mark.parametrize("strategy", ["concat", "interleave_under", "interleave_over", "interleave_once"])
@pytest.mark.parametrize("drawn", [False, True])
def test_turns_end_where_those_of_whole_data_sets_end(sizes, strategy, drawn) -> None:
    shares = tuple(np.array(sizes) / sum(sizes)) if drawn else ()
    starts = np.concatenate([[0], np.cumsum(sizes)])
    opens = [lambda part=part: iter(range(starts[part], starts[part + 1])) for part in range(len(sizes))]
    found = [int(row) for _, row in take_turns(opens, strategy, shares, 5, 0)]  # type: ignore[arg-type,misc]
    if not drawn:
        assert found == mixed(sizes, strategy, shuffle=False)
        return
    times = Counter(found)
    if strategy == "interleave_under":
        assert max(times.values()) == 1
        assert found[-1] in starts[1:] - 1  # the last row of the data set that ended first
    elif strategy == "interleave_over":
        assert set(times) == set(range(sum(sizes)))
        assert times[found[-1]] == 1
    else:
        assert sorted(found) == list(range(sum(sizes)))
    assert found == [int(row) for _, row in take_turns(opens, strategy, shares, 5, 0)]  # type: ignore[arg-type,misc]


def test_bad_rows_are_met_when_their_turn_comes_or_skipped_and_said(desk, question, stream) -> None:
    rows = [question(at) for at in range(40)]
    rows[25] = {"instruction": "q25", "output": ""}
    desk.write("a.jsonl", rows)
    _, source = stream("a.jsonl")
    with pytest.raises(LlamaFactoryError) as caught:
        epoch_of(source, 0)
    assert caught.value.where.endswith("a.jsonl:26")
    _, source = stream("a.jsonl", on_bad_row="skip")
    assert len(firsts(desk, epoch_of(source, 0))) == 39
    assert any("1 cannot be used" in text for text in desk.said)


def test_a_shard_without_a_usable_row_is_passed_over(desk, question, stream) -> None:
    rows = [question(at) for at in range(30)]
    rows[10:20] = [{"instruction": "q", "output": ""}] * 10
    desk.write("a.jsonl", rows)
    _, source = stream("a.jsonl", on_bad_row="skip")
    assert len(firsts(desk, epoch_of(source, 0))) == 20
    state = source.state()
    _, again = stream("a.jsonl", on_bad_row="skip")
    again.restore(state)
    assert same(again.next_step(), source.next_step())


def test_a_state_of_other_rows_is_refused(desk, question, stream) -> None:
    desk.write("a.jsonl", [question(at) for at in range(30)])
    _, source = stream("a.jsonl")
    for _ in range(5):
        source.next_step()
    state = source.state()
    for keys in ({"buffer_size": 9}, {"data_seed": 3}, {"per_device_train_batch_size": 3}, {"val_size": 2}):
        with pytest.raises(InputError) as caught:
            stream("a.jsonl", **keys)[1].restore(state)
        assert caught.value.id == "data.state-differs"
    desk.write("a.jsonl", [question(at + (at > 12)) for at in range(30)])
    with pytest.raises(InputError) as caught:
        stream("a.jsonl")[1].restore(state)
    assert (caught.value.id, caught.value.values["what"]) == ("data.state-differs", "dataset")


def test_the_origin_of_a_row_is_that_of_its_shard(desk, question, stream) -> None:
    desk.write("a.jsonl", [question(at) for at in range(30)])
    _, source = stream("a.jsonl", disable_shuffling=True)
    for _ in range(4):
        step = source.next_step()
    assert {str(source.origin(int(row))).rsplit(":")[-1] for batch in step.batches for row in batch.rows} == {
        "11", "12", "13", "14",
    }  # fmt: skip
