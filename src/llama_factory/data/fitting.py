"""Rows longer than `cutoff_len`: left out, shortened, or split, by the rule that the user chose.

In: a conversation, what it rendered to, and the limit. Out: rendered rows that fit, perhaps none.

Shortening is done on the *conversation*, which is then rendered again, and not on the arrays: templates
look at the whole dialogue (many drop the reasoning of all answers but the last), so only a rendering of
the shorter dialogue is what the model meets when it is that long. The one cut made on arrays is the tail
of an answer that is too long by itself. It deliberately does not decide whether losing rows is
acceptable, and never shortens a prompt: an answer to a question that was cut teaches guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llama_factory.records import Conversation, Rendered

Fitting = Literal["drop", "truncate", "split"]
Render = Callable[[Conversation], Rendered]


@dataclass(frozen=True, slots=True)
class Fitted:
    """`rows` all fit; `lost` says whether something of the conversation is in none of them."""

    rows: tuple[Rendered, ...]
    lost: bool


def fit(how: Fitting, conversation: Conversation, rendered: Rendered, render: Render, limit: int) -> Fitted:
    """Rows of at most `limit` tokens, made from a conversation that is longer."""
    if how == "truncate":
        return _truncate(conversation, rendered, render, limit)
    if how == "split":
        return _split(conversation, rendered, render, limit)
    return Fitted((), lost=True)


def trained(row: Rendered) -> float:
    """Sum of the weights; the first token is never predicted."""
    return float(row.weight_T[1:].sum())


def learns(row: Rendered) -> bool:
    """Whether any weight is left behind the first token."""
    return bool(row.weight_T[1:].any())


def _truncate(conversation: Conversation, rendered: Rendered, render: Render, limit: int) -> Fitted:
    """Whole rounds are dropped from the end until the rest fits; it then ends with its true stop token.

    If not even the first answer fits, its tail is cut: the row ends inside the answer's own text, without
    a stop token, so that neither a false end nor a piece of a stop token is learned. If the limit falls
    before that answer begins, nothing of it could be learned and no row is left.
    """
    answers = [at for at, message in enumerate(conversation.messages) if message.role == "assistant"]
    _, end_M = _places(rendered, len(conversation.messages))
    for answer in [answer for answer in reversed(answers[:-1]) if end_M[answer] <= limit]:
        shorter = render(replace(conversation, messages=conversation.messages[: answer + 1]))
        if shorter.ids_T.size <= limit:
            return Fitted((shorter,) if trained(shorter) > 0 else (), lost=True)
    first = rendered
    if len(answers) > 1:
        first = render(replace(conversation, messages=conversation.messages[: answers[0] + 1]))
    if first.ids_T.size <= limit:
        return Fitted((first,) if trained(first) > 0 else (), lost=True)
    cut = _cut_answer(first, answers[0], limit)
    return Fitted((cut,) if cut is not None else (), lost=True)


def _cut_answer(rendered: Rendered, answer: int, limit: int) -> Rendered | None:
    """Up to the last token within the limit that is the answer's own; the template's are its stop tokens.

    `text` stays the whole one: nobody can say which of its characters half a token is.
    """
    own = np.flatnonzero(rendered.message_T[:limit] == answer)
    if own.size == 0:
        return None
    end = int(own[-1]) + 1
    if any(span.start < end < span.end for span in rendered.media):
        return None
    cut = replace(
        rendered,
        ids_T=rendered.ids_T[:end],
        weight_T=rendered.weight_T[:end],
        message_T=rendered.message_T[:end],
        media=tuple(span for span in rendered.media if span.end <= end),
    )
    return cut if trained(cut) > 0 else None


def _split(conversation: Conversation, rendered: Rendered, render: Render, limit: int) -> Fitted:
    """Rounds are dealt out to several rows, as many to each as fit, in order; every row has the system text.

    Every answer is trained exactly once and whole, but with the rounds of its own row before it and not
    with all earlier ones. A single round that does not fit is left out: no part of it could stand alone.
    """
    rounds = _rounds(conversation)
    head = conversation.messages[: rounds[0][0]]
    start_M, _ = _places(rendered, len(conversation.messages))
    starts = np.append(start_M[[first for first, _ in rounds]], rendered.ids_T.size)
    room = limit - int(starts[0])
    rows: list[Rendered] = []
    lost = False
    at = 0
    while at < len(rounds):
        likely = int(np.searchsorted(starts, starts[at] + room, side="right")) - 1 - at
        many = min(max(likely + 1, 1), len(rounds) - at)  # one more than fits by its text: markers are not counted
        for count in range(many, 0, -1):
            piece = conversation.messages[rounds[at][0] : rounds[at + count - 1][1]]
            row = render(replace(conversation, messages=(*head, *piece)))
            if row.ids_T.size <= limit:
                if trained(row) > 0:
                    rows.append(row)
                break
        else:
            count, lost = 1, True
        at += count
    return Fitted(tuple(rows), lost=lost or not rows)


def _rounds(conversation: Conversation) -> Sequence[tuple[int, int]]:
    """First message and the one after the last, for every question with its answer."""
    first = [at for at, message in enumerate(conversation.messages) if message.role == "user"]
    return list(zip(first, [*first[1:], len(conversation.messages)], strict=True))


def _places(rendered: Rendered, messages: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every message, its first token and the one after its last; a message without tokens ends at 0."""
    own = np.flatnonzero(rendered.message_T >= 0)
    message_O = rendered.message_T[own]
    start_M = np.full(messages, rendered.ids_T.size, dtype=np.int64)
    end_M = np.zeros(messages, dtype=np.int64)
    np.minimum.at(start_M, message_O, own)
    np.maximum.at(end_M, message_O, own + 1)
    return start_M, end_M
