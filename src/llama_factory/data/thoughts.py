"""Marks of thoughts and answers in a text: `<think>`, `</think>`, `<answer>`, `</answer>`.

In: what an assistant says. Out: the marks as they stand, where they do not pair: one left open, one inside another, an
answer before its thoughts. Rows keep such texts word for word, because they may be meant; the finding tells how many
there are. It deliberately decides nothing about where a template puts thoughts.
"""

from __future__ import annotations

import re

MARK = re.compile(r"</?(?:think|answer)>")
GOOD = frozenset(
    (
        ("<think>", "</think>"),
        ("<answer>", "</answer>"),
        ("<think>", "</think>", "<answer>", "</answer>"),
    )
)
SHOWN = 6


def faults(text: str) -> tuple[str, ...]:
    """The marks of a text that are not one pair of thoughts, one of an answer, or both in this order; else nothing.

    Thoughts that are there must stand first: words before `<think>` would be said before they were thought.
    """
    if "think>" not in text and "answer>" not in text:
        return ()
    marks = tuple(found.group() for found in MARK.finditer(text))
    if not marks:
        return ()
    if marks in GOOD and (marks[0] != "<think>" or text.lstrip().startswith("<think>")):
        return ()
    return (*marks[:SHOWN], "...") if len(marks) > SHOWN else marks
