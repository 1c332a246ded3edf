"""How a row looks in a terminal: text that is trained is coloured, or stands in brackets where colours cannot be.

In: pieces of text with their weights, and a screen. Out: one text. Weights between 0 and 1 have colours of their own
and say their number in the brackets. Used by `check` and by `show`; it knows neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llama_factory.apps.words import said

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.render.shown import Piece

BOLD, END = "\x1b[1m", "\x1b[0m"
COLOURS = ((0.34, "\x1b[31m"), (0.67, "\x1b[33m"), (0.999, "\x1b[36m"), (float("inf"), "\x1b[32m"))
"""By weight, up to and with each: red a little, yellow about half, cyan most, green full weight."""


def as_text(pieces: Iterable[Piece], screen: Screen, *, limit: int | None = None) -> str:
    """limit: characters of a piece that are shown; the middle of a longer one is left out."""
    shown = (
        marked(_shortened(printable(one.text), limit, screen), one.weight, screen, control=one.control)
        for one in pieces
    )
    return "".join(shown).rstrip("\n")


def marked(text: str, weight: float, screen: Screen, *, control: bool = False) -> str:
    """`[[trained]]`, `[[0.5: trained by half]]`; on a terminal coloured instead, line by line, control tokens bold."""
    if not screen.colour_out:
        return text if weight == 0 or not text else f"[[{text}]]" if weight == 1 else f"[[{weight:.3g}: {text}]]"
    code = (BOLD if control else "") + ("" if weight == 0 else next(code for most, code in COLOURS if weight <= most))
    return "\n".join(f"{code}{line}{END}" if line and code else line for line in text.split("\n"))


def legend(weights: Sequence[float], screen: Screen) -> str:
    """Each weight that occurs, as it is marked."""
    found = sorted(set(weights) - {0.0})
    words = {1.0: said("rows.trained", screen.language)}
    named = [(words.get(w) or said("rows.weight", screen.language, weight=f"{w:.3g}"), w) for w in found]
    return "  ".join(marked(word, weight if screen.colour_out else 1.0, screen) for word, weight in named)


def printable(text: str) -> str:
    """Fit for a terminal: no control characters of the row's own."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else ascii(sign)[1:-1] for sign in text)


def _shortened(text: str, limit: int | None, screen: Screen) -> str:
    if limit is None or len(text) <= limit:
        return text
    cut = said("check.cut", screen.language, count=len(text) - limit)
    return text[: limit // 2] + cut + text[-limit // 2 :]
