"""Thoughts before an answer: taken apart from it, or written with it.

In: an assistant's `Message`. Out: the same words, thoughts and answer apart or in one text. The marks around thoughts
are written by whoever renders, never by the message: where a tokenizer has tokens for them, the tokens are meant.
Nothing is trimmed but the line breaks beside a mark, which templates write themselves. Deliberately no template here.
"""

from __future__ import annotations

import re
from dataclasses import replace

from llama_factory.records import Message
from llama_factory.render.provenance import Span, Traced, join

OPEN, CLOSE = "<think>", "</think>"
_BEFORE_ANSWER = re.compile(rf"\s*{OPEN}(.*?){CLOSE}", re.DOTALL)
_LEFT_OPEN = re.compile(rf"{OPEN}\s*\Z")
_LEFT_EMPTY = re.compile(rf"{OPEN}\s*{CLOSE}\s*\Z")


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


def left_open(prompt: str) -> int | None:
    """Where the mark begins with which a prompt ends, if the model is to go on with thoughts."""
    found = _LEFT_OPEN.search(prompt)
    return found.start() if found else None


def left_empty(prompt: str) -> int | None:
    """Where the empty thoughts begin with which a prompt ends, if the model is to answer without any."""
    found = _LEFT_EMPTY.search(prompt)
    return found.start() if found else None
