"""Thoughts before an answer: taken apart from it, or written with it.

In: an assistant's `Message`. Out: the same words, thoughts and answer apart or in one text. The marks around thoughts
are written by whoever renders, never by the message: where a tokenizer has tokens for them, the tokens are meant.
Nothing is trimmed but the line breaks beside a mark, which templates write themselves. Deliberately no template here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from llama_factory.records import Message
from llama_factory.render.provenance import Span, Traced, join

OPEN, CLOSE = "<think>", "</think>"
_BEFORE_ANSWER = re.compile(rf"\s*{OPEN}(.*?){CLOSE}", re.DOTALL)
MARKS = {
    OPEN: CLOSE,
    "<|START_THINKING|>": "<|END_THINKING|>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "<thought>": "</thought>",
    "<|channel>thought": "<channel|>",
}
"""Marks that a template may leave open at the end of a prompt, and what closes them."""

_LEFT_OPEN = re.compile(rf"({'|'.join(map(re.escape, MARKS))})(\s*)\Z")
_LEFT_EMPTY = re.compile(
    "|".join(rf"(?:{re.escape(left)}\s*)?{re.escape(right)}\s*\Z" for left, right in MARKS.items())
)
_EMPTY = re.compile(rf"\s*{OPEN}(\s*){CLOSE}")


def apart(message: Message) -> Message:
    """Thoughts that stand in marks at the beginning of an answer become its `reasoning`."""
    if message.role != "assistant" or message.reasoning is not None or OPEN not in message.content:
        return message
    found = _BEFORE_ANSWER.match(message.content)
    if found is None:
        return message
    return replace(message, reasoning=found[1].strip("\n"), content=message.content[found.end() :].lstrip("\n"))


def together(message: Message, number: int) -> Traced:
    """The content with its thoughts in front. The words are the message's, the marks are not."""
    content = Traced.of(message.content, number)
    if message.reasoning:
        return join("", (f"{OPEN}\n", Traced.of(message.reasoning, number), f"\n{CLOSE}\n\n", content))
    found = _BEFORE_ANSWER.match(message.content) if message.role == "assistant" else None
    if found is None:
        return content
    left, right = found.start(1), found.end(1)
    inside = ((0, left - len(OPEN)), (left, right), (found.end(), len(content)))
    return Traced(message.content, tuple(Span(start, end, number) for start, end in inside if start < end))


def words(message: Message, *, with_thoughts: bool) -> str:
    """What must be found in the rendered text, without white space and without marks."""
    message = apart(message)
    return bare((message.reasoning or "" if with_thoughts else "") + message.content)


def bare(text: str) -> str:
    """`text` without white space, as `words` are compared."""
    return "".join(text.split())


class Opened(NamedTuple):
    """Thoughts that a prompt has begun: where their mark stands, and what closes them."""

    start: int
    close: str


def left_open(prompt: str) -> Opened | None:
    """The mark with which a prompt ends, if the model is to go on with thoughts."""
    found = _LEFT_OPEN.search(prompt)
    if found is None:
        return None
    close = MARKS[found[1]]
    return Opened(found.start(), f"\n{close}\n\n" if found[2] else close)


def left_empty(prompt: str) -> int | None:
    """Where the empty thoughts begin with which a prompt ends, if the model is to answer without any."""
    found = _LEFT_EMPTY.search(prompt)
    return found.start() if found else None


def empty_at_start(answer: str) -> tuple[int, str] | None:
    """Empty thoughts with which an answer begins: where they could be filled in, and what goes around them."""
    found = _EMPTY.match(answer)
    return (found.start(1), "\n" if "\n" in found[1] else "") if found else None
