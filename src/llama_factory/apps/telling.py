"""Findings on the screen: what was noticed on the way, one calm line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from llama_factory.errors import one_line

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.records import Finding

Say = Callable[[str], None]


def tell(findings: Iterable[Finding], screen: Screen, say: Say) -> None:
    for finding in findings:
        say(one_line(finding.id, finding.where, finding.values, screen.language))
