"""Findings on the screen: what was noticed on the way, one calm line each; and how far a long reading has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from llama_factory.apps.words import said
from llama_factory.errors import one_line

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.records import Finding

Say = Callable[[str], None]

SAY_EVERY_S = 5.0


def tell(findings: Iterable[Finding], screen: Screen, say: Say) -> None:
    for finding in findings:
        say(one_line(finding.id, finding.where, finding.values, screen.language))


def heard(screen: Screen) -> Callable[[int], None]:
    """A line now and then, beside the result: a large file takes minutes."""
    last = time.monotonic()

    def progress(rows: int) -> None:
        nonlocal last
        if rows % 1000 == 0 and time.monotonic() - last >= SAY_EVERY_S:
            last = time.monotonic()
            screen.note(said("clean.progress", screen.language, rows=rows))

    return progress
