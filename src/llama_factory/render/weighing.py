"""Weights and origins for the tokens of many examples at once.

In: `Drawn` examples, their tokens laid end to end. Out: for every example its `Rendered`, or None where it has to be
looked at alone: a control token on a message's characters, a token across a border, a turn without its stop. What is
done then stands in `renderer`, as does the same arithmetic for one row, which the tests hold this to.

Axes: T tokens, R examples, S spans, N turns, B borders, all of the chunk end to end. Places are characters of the
texts laid end to end with one place between two texts, so that nothing of one text reaches into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from llama_factory.records import FROM_TEMPLATE, Rendered
from llama_factory.render.examples import Drawn
from llama_factory.render.provenance import plain
from llama_factory.render.tokenizer import EncodedRows

Places = NDArray[np.int64]


def weigh(drawn: Sequence[Drawn], rows: EncodedRows, control_V: NDArray[np.bool_]) -> list[Rendered | None]:
    """control_V: which ids are control tokens."""
    count_R = np.diff(rows.offsets_R)
    room_R = np.array([len(one.text) + 1 for one in drawn], dtype=np.int64)
    first_R = np.cumsum(room_R) - room_R
    base_T = np.repeat(first_R, count_R)
    start_T, end_T = rows.start_T + base_T, rows.end_T + base_T
    control_T = control_V[rows.ids_T]
    span_S3, row_S = _laid(drawn, [one.text.spans for one in drawn], 3)
    turn_N3, row_N = _laid(drawn, [one.turns for one in drawn], 3)
    border_B, row_B = _laid(drawn, [[(at,) for at in one.borders] for one in drawn], 1)
    from_S, to_S = span_S3[:, 0] + first_R[row_S], span_S3[:, 1] + first_R[row_S]
    begin_N = np.searchsorted(start_T, turn_N3[:, 1] + first_R[row_N])
    after_N = np.searchsorted(start_T, turn_N3[:, 2] + first_R[row_N])

    alone_R = np.zeros(len(drawn), dtype=bool)
    at = np.flatnonzero(control_T)
    touched = at[_inside(start_T[at], end_T[at], from_S, to_S)]
    alone_R[np.searchsorted(rows.offsets_R, touched, side="right") - 1] = True
    alone_R[row_B[_across(start_T, end_T, border_B[:, 0] + first_R[row_B])]] = True
    alone_R[row_N[(after_N <= begin_N) | ~control_T[np.maximum(after_N - 1, 0)]]] = True

    weight_T = np.zeros(rows.ids_T.size, dtype=np.float32)
    for row, message, begin, after in zip(
        row_N.tolist(), turn_N3[:, 0].tolist(), begin_N.tolist(), after_N.tolist(), strict=True
    ):
        given = drawn[row].conversation.messages[message].weight
        weight_T[begin:after] = 1.0 if given is None else given
    weight_T[rows.offsets_R[:-1][count_R > 0]] = 0.0  # nothing comes before a first token that could predict it
    message_T = np.full(rows.ids_T.size, FROM_TEMPLATE, dtype=np.int16)
    whose_S = np.maximum(span_S3[:, 2], FROM_TEMPLATE).tolist()
    places = zip(np.searchsorted(start_T, from_S).tolist(), np.searchsorted(start_T, to_S).tolist(), strict=True)
    for whose, (begin, after) in zip(whose_S, places, strict=True):
        message_T[begin:after] = whose
    ranges = pairwise(rows.offsets_R.tolist())
    return [
        None
        if alone
        else Rendered(
            plain(one.text), rows.ids_T[left:right], weight_T[left:right], message_T[left:right],
            one.conversation.origin,
        )
        for one, alone, (left, right) in zip(drawn, alone_R.tolist(), ranges, strict=True)
    ]  # fmt: skip


def _laid(drawn: Sequence[Drawn], of_each: Sequence[Sequence[tuple[int, ...]]], width: int) -> tuple[Places, Places]:
    """All of them under each other, and which example each belongs to."""
    row = np.repeat(np.arange(len(drawn)), [len(some) for some in of_each])
    numbers = chain.from_iterable(chain.from_iterable(of_each))
    return np.fromiter(numbers, dtype=np.int64, count=row.size * width).reshape(-1, width), row


def _inside(start: Places, end: Places, from_S: Places, to_S: Places) -> NDArray[np.bool_]:
    """Which of these tokens stand, in part at least, on a span."""
    if not from_S.size:
        return np.zeros(start.size, dtype=bool)
    nearest = np.searchsorted(from_S, end, side="left") - 1
    return (nearest >= 0) & (to_S[nearest] > start)


def _across(start_T: Places, end_T: Places, border_B: Places) -> NDArray[np.bool_]:
    """Which borders have a token on both sides."""
    if not start_T.size:
        return np.zeros(border_B.size, dtype=bool)
    before = np.searchsorted(start_T, border_B, side="left") - 1
    return (before >= 0) & (end_T[before] > border_B)
