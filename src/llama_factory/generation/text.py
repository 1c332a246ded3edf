"""Token ids to text while they come.

A token may hold half a character, and some tokenizers write a token differently after another than alone. So
text is given out only where it can no longer change, and the pieces together are what decoding all ids at once
gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

UNFINISHED = "\ufffd"


class Decoder(Protocol):
    """What is needed of a renderer."""

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str: ...


def decode_stream(renderer: Decoder, ids: Iterable[int]) -> Iterator[str]:
    """Pieces of text, none of them empty. Only the last few ids are decoded again for each new one."""
    before: list[int] = []  # given out already, kept as the neighbours that the next ones are written after
    fresh: list[int] = []
    for token in ids:
        fresh.append(token)
        given = renderer.decode(before)
        text = renderer.decode([*before, *fresh])
        if len(text) > len(given) and not text.endswith(UNFINISHED):
            yield text[len(given) :]
            before, fresh = fresh, []
    rest = renderer.decode([*before, *fresh])[len(renderer.decode(before)) :]
    if rest:
        yield rest
