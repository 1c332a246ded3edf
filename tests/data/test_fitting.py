"""Rows above `cutoff_len`: dropped, refused, truncated or split; never cut inside a stop token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data.fitting import fit
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, Origin

ORIGIN = Origin("f.jsonl", 1)


def talk(*answers: int, system: bool = False) -> Conversation:
    """One round for each number; the answer has so many words."""
    messages = [Message("system", "s")] if system else []
    for at, words in enumerate(answers):
        messages += [
            Message("user", f"q{at}"),
            Message("assistant", " ".join(f"a{at}.{word}" for word in range(words))),
        ]
    return Conversation(tuple(messages), ORIGIN)


def rows(desk, how: str, conversation: Conversation, limit: int) -> list[str]:
    rendered = desk.renderer.render(conversation)
    fitted = fit(how, conversation, rendered, desk.renderer.render, limit)
    assert all(row.ids_T.size <= limit for row in fitted.rows)
    assert all(row.ids_T.size == row.weight_T.size == row.message_T.size for row in fitted.rows)
    return [desk.renderer.decode(row.ids_T) for row in fitted.rows]


def test_truncate_drops_whole_later_rounds_first(desk) -> None:
    whole = "<user> q0 <stop > <assistant> a0.0 a0.1 <stop >"
    for limit in range(9, 18):
        assert rows(desk, "truncate", talk(2, 9), limit) == [whole]


def test_truncate_cuts_the_tail_of_a_first_answer_without_faking_its_stop(desk) -> None:
    head = "<user> q0 <stop > <assistant>"
    conversation = talk(3, 2)
    assert rows(desk, "truncate", conversation, 10) == [head + " a0.0 a0.1 a0.2 <stop >"]
    for limit in (8, 9):  # the limit falls after the answer and inside its stop
        assert rows(desk, "truncate", conversation, limit) == [head + " a0.0 a0.1 a0.2"]
    assert rows(desk, "truncate", conversation, 7) == [head + " a0.0 a0.1"]
    assert rows(desk, "truncate", conversation, 6) == [head + " a0.0"]
    for limit in (1, 4, 5):  # nothing of the answer is left
        assert rows(desk, "truncate", conversation, limit) == []


def test_a_truncated_dialogue_is_rendered_as_the_shorter_one(desk) -> None:
    messages = (
        Message("user", "q"), Message("assistant", "<think> deep </think> a"),
        Message("user", "r"), Message("assistant", "b " * 20),
    )  # fmt: skip
    assert rows(desk, "truncate", Conversation(messages, ORIGIN), 20) == [
        "<user> q <stop > <assistant> <think> deep </think> a <stop >"
    ]


def test_split_deals_out_whole_rounds_and_repeats_the_system_text(desk) -> None:
    assert rows(desk, "split", talk(2, 2, 2, system=True), 23) == [
        "<system> s <stop > <user> q0 <stop > <assistant> a0.0 a0.1 <stop > "
        "<user> q1 <stop > <assistant> a1.0 a1.1 <stop >",
        "<system> s <stop > <user> q2 <stop > <assistant> a2.0 a2.1 <stop >",
    ]


def test_split_leaves_out_a_round_that_does_not_fit_alone_and_says_so(desk) -> None:
    conversation = talk(2, 30, 2)
    fitted = fit("split", conversation, desk.renderer.render(conversation), desk.renderer.render, 12)
    assert [desk.renderer.decode(row.ids_T)[:9] for row in fitted.rows] == ["<user> q0", "<user> q2"]
    assert fitted.lost


@settings(max_examples=200, deadline=None)
@given(
    answers=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    limit=st.integers(1, 60),
    system=st.booleans(),
)
def test_split_trains_every_answer_once_and_whole(renderer_class, answers, limit, system) -> None:
    renderer = renderer_class()
    conversation = talk(*answers, system=system)
    fitted = fit("split", conversation, renderer.render(conversation), renderer.render, limit)
    assert all(row.ids_T.size <= limit for row in fitted.rows)
    trained = " ".join(renderer.decode(row.ids_T[row.weight_T > 0]) for row in fitted.rows)
    kept = [at for at, words in enumerate(answers) if 7 + words + (4 if system else 0) <= limit]
    expected = [f"a{at}.{word}" for at in kept for word in range(answers[at])]
    assert [word for word in trained.split() if word.startswith("a")] == expected
    assert fitted.lost == (len(kept) < len(answers))


@settings(max_examples=200, deadline=None)
@given(answers=st.lists(st.integers(1, 12), min_size=1, max_size=6), limit=st.integers(1, 60))
def test_truncate_never_ends_inside_a_stop(renderer_class, answers, limit) -> None:
    renderer = renderer_class()
    conversation = talk(*answers)
    for row in fit("truncate", conversation, renderer.render(conversation), renderer.render, limit).rows:
        words = renderer.decode(row.ids_T).split()
        assert words[-1] != "<stop"
        assert row.weight_T[-1] > 0
        assert words.count("<stop") == words.count(">")


def long_rows(question, short: int, long: int) -> list[dict[str, str]]:
    return [question(at) for at in range(short)] + [question(at, words=50) for at in range(long)]


def test_up_to_five_percent_of_long_rows_are_dropped_counted_and_listed(desk, question) -> None:
    desk.write("train.jsonl", long_rows(question, 95, 5))
    prepared = desk.prepare("train.jsonl", cutoff_len=20)
    account = prepared.summary.train[0].account
    assert (len(prepared.train), account.too_long, account.lost, account.longest) == (95, 5, 5, 57)
    assert [row.where for row in account.long_rows] == [f"train.jsonl:{at}" for at in range(96, 101)]
    assert any("5 of 100" in line for line in desk.said)
    assert any("train.jsonl:96: 57 tokens" in line for line in desk.said)


def test_above_five_percent_nothing_is_dropped_until_chosen(desk, question) -> None:
    desk.write("train.jsonl", long_rows(question, 94, 6))
    with pytest.raises(DataError) as caught:
        desk.prepare("train.jsonl", cutoff_len=20)
    assert caught.value.id == "data.too-many-long"
    assert caught.value.values["longest"] == 57
    assert len(desk.prepare("train.jsonl", cutoff_len=20, on_too_long="drop").train) == 94
    assert desk.prepare("train.jsonl", cutoff_len=20, on_too_long="drop").summary.train[0].store == "hit"


def test_error_accepts_no_long_row(desk, question) -> None:
    desk.write("train.jsonl", long_rows(question, 99, 1))
    with pytest.raises(DataError) as caught:
        desk.prepare("train.jsonl", cutoff_len=20, on_too_long="error")
    assert (caught.value.id, caught.value.where) == ("data.too-long", "train.jsonl:100")


def test_when_every_row_is_too_long_nothing_is_trained_in_silence(desk, question) -> None:
    desk.write("train.jsonl", long_rows(question, 0, 3))
    for how in (None, "drop", "split"):
        with pytest.raises(DataError) as caught:
            desk.prepare("train.jsonl", cutoff_len=20, on_too_long=how)
        assert caught.value.id == "data.no-rows-left"
        assert caught.value.values["long"] == 3
    prepared = desk.prepare("train.jsonl", cutoff_len=20, on_too_long="truncate")
    assert [desk.renderer.decode(prepared.train.row(at).ids_T).split()[-1] for at in range(3)] == ["a0", "a1", "a2"]
    assert prepared.summary.train[0].account.shortened == 3
