"""Marks of thoughts and answers: which texts are in order, and what is shown of the others."""

from __future__ import annotations

import pytest

from llama_factory.data.thoughts import faults


@pytest.mark.parametrize(
    "text",
    [
        "no marks, 1 < 2, think> nothing",
        "<think>\nso\n</think>\n\nit is",
        "<think>\n\n</think>\n<answer>\nit is\n</answer>",
        "  <think>so</think>it is",
        "It is: <answer>7</answer>",
        "",
    ],
)
def test_marks_that_pair_are_no_finding(text: str) -> None:
    assert faults(text) == ()


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("<think>so", ("<think>",)),
        ("so</think>it is", ("</think>",)),
        ("<think><think>so</think></think>", ("<think>", "<think>", "</think>", "</think>")),
        ("<think>a<answer>b</think></answer>", ("<think>", "<answer>", "</think>", "</answer>")),
        ("<answer>b</answer><think>a</think>", ("<answer>", "</answer>", "<think>", "</think>")),
        ("</think>a<think>", ("</think>", "<think>")),
        ("said first <think>so</think>", ("<think>", "</think>")),
        ("<think></think>" * 4, (*["<think>", "</think>"] * 3, "...")),
    ],
)
def test_marks_that_do_not_pair_are_shown_in_their_order(text: str, marks: tuple[str, ...]) -> None:
    assert faults(text) == marks
