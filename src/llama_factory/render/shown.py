"""A rendered row as a person can read it: every token with its text, its weight and where it came from.

In: a `Renderer` and the arrays of a row. Out: `Token`s whose texts join to the whole text, and the same as pieces of
one weight. Deliberately no colours and no screen: `apps` has those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llama_factory.render.renderer import Renderer


class Piece(NamedTuple):
    """Some text and the weight with which it is trained; 0: it is only read."""

    text: str
    weight: float
    control: bool = False


UNFINISHED = "\ufffd"
"""What a decoder writes for a token that holds a part of a sign."""

LONGEST_SIGN = 8
"""Tokens that one sign may be cut into; text that stays unreadable for longer is shown as it is."""

WINDOW = 16
"""Tokens that are decoded together, so that each is written as it is beside its neighbours."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a row. `message`: the message it came from, or FROM_TEMPLATE; `weight` of predicting it.

    text: what it adds to the row's text; nothing where a sign is finished by a later token only.
    control: it means something to the model that no text can say.
    """

    id: int
    text: str
    weight: float
    message: int
    control: bool


class RowArrays(Protocol):
    """A rendered row, or one that is read from a store."""

    @property
    def ids_T(self) -> NDArray[np.int32]: ...

    @property
    def weight_T(self) -> NDArray[np.float32]: ...

    @property
    def message_T(self) -> NDArray[np.int16]: ...


def tokens(renderer: Renderer, row: RowArrays) -> tuple[Token, ...]:
    """The row token by token."""
    ids = [int(id) for id in row.ids_T]
    control = set(renderer.tokenizer.control.values())
    columns = zip(ids, texts(renderer, ids), row.weight_T, row.message_T, strict=True)
    return tuple(Token(id, text, float(weight), int(message), id in control) for id, text, weight, message in columns)


def pieces(found: Sequence[Token], *, apart: bool = False) -> tuple[Piece, ...]:
    """Tokens as text, cut where the weight changes; `apart`: where a control token begins or ends, too."""
    runs = groupby(found, lambda one: (one.weight, one.control and apart))
    return tuple(Piece("".join(one.text for one in run), weight, control) for (weight, control), run in runs)


def texts(renderer: Renderer, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text of all; together they are the whole text.

    Each is decoded behind its neighbours, because many tokenizers write a token alone without the space before it.
    """
    found: list[str] = []
    start = given = waiting = 0
    for at in range(len(ids)):
        text = renderer.decode(ids[start : at + 1], skip_control=False)
        waiting = waiting + 1 if text.endswith(UNFINISHED) else 0
        if 0 < waiting < LONGEST_SIGN and at + 1 < len(ids):
            found.append("")
            continue
        found.append(text[given:])
        given = len(text)
        if at + 1 - start >= WINDOW and not waiting:
            start = at
            given = len(renderer.decode(ids[start : at + 1], skip_control=False))
    return found
