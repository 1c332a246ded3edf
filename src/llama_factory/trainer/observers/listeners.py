"""All observers of a run behind one face: what is told to it, each of them hears.

In: observers. Out: the same calls. An observer that raises is dropped for the rest of the run, and the others
are told so once: a full log disk or a closed terminal is no reason to lose a training run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from llama_factory.errors import letter
from llama_factory.records import Finding
from llama_factory.trainer.ports import Evaluation, Observer, Progress, Start


class Listeners:
    """Itself an `Observer`. Only `Exception`s are caught: a second Ctrl-C is none."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def started(self, start: Start) -> None:
        self._tell(lambda observer: observer.started(start))

    def stepped(self, progress: Progress) -> None:
        self._tell(lambda observer: observer.stepped(progress))

    def logged(self, progress: Progress) -> None:
        self._tell(lambda observer: observer.logged(progress))

    def evaluated(self, evaluation: Evaluation) -> None:
        self._tell(lambda observer: observer.evaluated(evaluation))

    def saved(self, step: int, folder: Path) -> None:
        self._tell(lambda observer: observer.saved(step, folder))

    def noticed(self, finding: Finding) -> None:
        self._tell(lambda observer: observer.noticed(finding))

    def ended(self) -> None:
        self._tell(lambda observer: observer.ended())

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            if observer not in self._observers:  # it was dropped meanwhile, while hearing of another one's failure
                continue
            try:
                tell(observer)
            except Exception as error:  # noqa: BLE001 - whatever it is, the run is worth more
                self._observers.remove(observer)
                with suppress(Exception):
                    observer.ended()
                self._report(observer, error)

    def _report(self, observer: Observer, error: Exception) -> None:
        values = {"name": type(observer).__name__, "reason": str(error).splitlines()[0] if str(error) else repr(error)}
        if self._observers:
            self.noticed(Finding("trainer.observer-failed", "warning", values=values))
        else:
            with suppress(OSError, ValueError):
                sys.stderr.write(letter("trainer.observer-failed", "", values) + "\n")
