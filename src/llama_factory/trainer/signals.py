"""Being asked to stop: Ctrl-C, SIGTERM (schedulers, `docker stop`), SIGHUP (the terminal was closed).

In: nothing. Out: `Stop`, a context that is asked between steps whether someone wants the run to end. The
first signal only sets a flag, so that the step is finished and a checkpoint saved; the second leaves at once.
Handlers are installed on entry and put back on exit. A signal that was ignored before (`nohup`, a background
job of a script) stays ignored. Outside the main thread Python allows no handlers: then nothing is installed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

T = TypeVar("T")

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class LeaveNow(KeyboardInterrupt):
    """The second signal. Not an `Exception`: nothing between here and `fit` may take it for a failure of its own."""


class BreakOff(BaseException):
    """The first signal, inside a stretch of work that changes nothing and can be left."""


class Stop:
    """`requested` is the name of the first signal, or empty."""

    def __init__(self) -> None:
        self.requested = ""
        self._breakable = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN and before is not None:
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def unless_stopped(self, work: Callable[[], T]) -> T | None:
        """Do what changes nothing; the first signal breaks it off and gives None."""
        try:
            self._breakable = True
            result = None if self.requested else work()
            self._breakable = False
            return result
        except BreakOff:
            return None
        finally:
            self._breakable = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            self._put_back()
            raise LeaveNow
        self.requested = signal.Signals(number).name
        if self._breakable:
            self._breakable = False
            raise BreakOff

    def _put_back(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
