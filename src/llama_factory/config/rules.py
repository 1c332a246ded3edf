"""What no two keys may say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config.run import Run


def check(run: Run, places: Mapping[str, str], broken: frozenset[str]) -> tuple[Finding, ...]:
    return ()
