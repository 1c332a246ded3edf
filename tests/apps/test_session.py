"""The conversation without a terminal: what is remembered, what is dropped, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from llama_factory.apps.session import Session
from llama_factory.errors import InputError
from llama_factory.records import Message


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location("fake_chat", Path(__file__).with_name("fake_chat.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_chat"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def ask(session: Session, question: str) -> str:
    return "".join(session.ask(question).pieces)


def test_an_answer_comes_in_pieces_that_are_whole_characters(fake) -> None:
    pieces = list(fake.session().ask("say:和🙂é").pieces)
    assert pieces == ["和", "🙂", "é"]


def test_the_model_sees_all_that_was_said(fake) -> None:
    session = fake.session()
    ask(session, "say:one")
    ask(session, "say:two")
    assert ask(session, "what") == "say:one|one|say:two|two|what"
    session.clear()
    assert ask(session, "what") == "what"


def test_an_answer_without_a_word_leaves_no_trace_in_the_conversation(fake) -> None:
    session = fake.session()
    assert ask(session, "say:") == ""
    assert session.messages == []


def test_a_stopped_answer_is_remembered_as_far_as_it_came(fake) -> None:
    session = fake.session()
    said: list[str] = []
    answer = session.ask("endless", stop=lambda: len(said) >= 3)
    for piece in answer.pieces:
        said.append(piece)
    assert answer.finish.reason == "cancelled"
    assert session.messages == [Message("user", "endless"), Message("assistant", "".join(said))]


def test_an_answer_that_breaks_off_is_remembered_too(fake) -> None:
    session = fake.session()
    answer = session.ask("endless")
    next(answer.pieces)
    answer.pieces.close()  # type: ignore[attr-defined]
    assert session.messages[-1] == Message("assistant", "和")
    assert answer.finish.reason == "cancelled"


def test_an_answer_at_its_limit_is_known_to_be_cut(fake) -> None:
    session = fake.session(max_new_tokens=6)
    answer = session.ask("endless")
    assert "".join(answer.pieces) == "和而"
    assert answer.finish.reason == "length"
    whole = session.ask("say:short")
    assert "".join(whole.pieces) == "short"
    assert whole.finish.reason == "stop"


def test_the_oldest_exchanges_go_whole_when_the_window_is_full(fake) -> None:
    session = fake.session(window=100, max_new_tokens=20)
    dropped = 0
    for number in range(12):
        answer = session.ask(f"say:answer {number:02}")
        assert "".join(answer.pieces) == f"answer {number:02}"
        assert answer.finish.reason == "stop"
        dropped += answer.dropped
        assert [message.role for message in session.messages] == ["user", "assistant"] * (len(session.messages) // 2)
    assert dropped == 12 - len(session.messages) // 2
    assert dropped > 6
    assert session.messages[-1].content == "answer 11"


def test_an_answer_never_runs_over_the_window(fake) -> None:
    session = fake.session(window=40)
    answer = session.ask("endless")
    text = "".join(answer.pieces)
    prompt = len(b"endless\0")
    assert answer.limit == 40 - prompt
    assert answer.finish.reason == "length"
    assert len(text.replace("\ufffd", "").encode()) <= answer.limit


def test_a_question_longer_than_the_window_is_refused_and_forgotten(fake) -> None:
    session = fake.session(window=40)
    ask(session, "say:hi")
    before = list(session.messages)
    with pytest.raises(InputError) as refused:
        session.ask("x" * 50)
    assert refused.value.id == "apps.question-too-long"
    assert refused.value.values == {"found": 51, "window": 40}
    assert session.messages == before


def test_half_a_character_at_a_cut_is_neither_shown_nor_remembered(fake) -> None:
    session = fake.session(max_new_tokens=5)
    answer = session.ask("endless")
    assert "".join(answer.pieces) == "和"
    assert session.messages[-1].content == "和"
