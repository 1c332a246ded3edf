"""What every sign has: a few moments at which it looks, and each of its findings at most once a run.

In: nothing. Out: `Sign`, to be derived from. It measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from llama_factory.records import Finding
from llama_factory.trainer.ports import Evaluation, Progress


class Sign:
    """A sign overrides the moments that it needs; the others say nothing."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def begin(self, first_step: int) -> None:
        """Where this process starts; more than 0 for a run that goes on."""

    def stepped(self, progress: Progress) -> Iterator[Finding]:
        """After every step: must cost next to nothing."""
        yield from ()

    def logged(self, progress: Progress) -> Iterator[Finding]:
        yield from ()

    def evaluated(self, evaluation: Evaluation) -> Iterator[Finding]:
        yield from ()

    def once(self, id: str, values: dict[str, object]) -> Iterator[Finding]:
        if id not in self._said:
            self._said.add(id)
            yield Finding(id, "warning", values=values)
