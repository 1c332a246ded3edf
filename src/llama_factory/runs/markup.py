"""HTML and SVG from values, of which nothing can become markup by itself.

In: names, attributes and children. Out: `Html`, a text that is known to be markup. Every other text that meets it
is escaped, so that forgetting to is impossible. What no page can hold (lone surrogates, control characters) is
replaced by a visible sign.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

UNSHOWN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
EMPTY = frozenset({"meta", "br", "circle", "line", "path", "rect"})
"""Elements that this package writes without content."""


class Html(str):
    """Markup. Made by `tag` and `join` alone."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as a text that means nothing but itself."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(UNSHOWN.sub("\ufffd", str(value)), quote=True))


def join(children: Iterable[object]) -> Html:
    return Html("".join(text(child) for child in children))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """`tag("td", "a < b", cls="right")`; an underscore in an attribute's name is a dash, None leaves it out."""
    given = "".join(
        f' {"class" if key == "cls" else key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in EMPTY and not children:
        return Html(f"<{name}{given}>" if name in ("meta", "br") else f"<{name}{given}/>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")
