"""What a person sees when something ends a command, and the exit code that a script sees.

In: whatever came up to `main`. Out: a letter on stderr and a code of `errors.EXIT_CODES`. An exception that
nobody foresaw becomes two lines and a report file (traceback, versions, command, configuration, no secrets);
the traceback itself never reaches the screen. Nothing is retried here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.errors import Interrupted, LlamaFactoryError, MachineError, OurFault, SeveralErrors

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen

WORKERS = frozenset({"train", "export"})
"""Commands whose result is on the disk: that nobody reads their lines any more is no success."""

INSTALL: Mapping[str, str] = {"torch": 'pip install -e ".[torch]"'}
"""How to get a library, where it is not simply `pip install NAME`."""

SECRET_NAMES = re.compile(r"(?i)(token|secret|password|passwd|api_?key|access_?key|credential)")
SECRET_SHAPES = re.compile(r"\bhf_[A-Za-z0-9]{8,}\b|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
STAR = "***"


def answer(error: BaseException, words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    """Tell the person, and return the exit code."""
    if isinstance(error, BrokenPipeError) and not set(words[:1]) & WORKERS:
        _silence(sys.stdout)  # `lmf list | head`: the reader has what it wanted
        return 0
    told = foreseen(error)
    if told is None:
        told = OurFault("apps.our-fault", **_report(error, words, environ))
    with contextlib.suppress(BrokenPipeError):
        screen.out.flush()
    with contextlib.suppress(OSError, ValueError):
        screen.note(told.letter(screen.language))
    _silence(sys.stdout)
    return told.exit_code


def foreseen(error: BaseException) -> LlamaFactoryError | SeveralErrors | None:
    """The letter for an error that a machine or a person can cause; None for a fault of ours."""
    if isinstance(error, LlamaFactoryError | SeveralErrors):
        return error
    if isinstance(error, BrokenPipeError):
        return MachineError("apps.output-lost", reason=os.strerror(errno.EPIPE))
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("apps.stopped")
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("llama_factory"):
        library = error.name.partition(".")[0]
        return MachineError(
            "apps.missing-library", library=library, install=INSTALL.get(library, f"pip install {library}")
        )
    from llama_factory.machine.shortage import is_out_of_memory

    if is_out_of_memory(error):
        return MachineError("apps.out-of-memory", reason=_first_line(error))
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return MachineError("apps.system-refused", where=error.filename or "", reason=os.strerror(error.errno))
    return None


REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO})
"""What an operating system says when the machine, not the program, is at its end."""


def _first_line(error: BaseException) -> str:
    from llama_factory.machine.shortage import first_line  # not before it is needed: `version` loads this file

    return first_line(error)


# --- the report of a fault ---------------------------------------------------------------------------------


def _report(error: BaseException, words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Write the report where it can be written; the values of the letter."""
    text = report_text(error, words, environ)
    name = f"llama_factory-fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    reason = _hide(f"{type(error).__name__}: {_first_line(error)}", _secrets(words, environ))
    for folder in (Path.cwd, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            path = folder() / name
            with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return {"reason": reason, "report": str(path)}
    return {"reason": reason, "report": "-"}


def report_text(error: BaseException, words: Sequence[str], environ: Mapping[str, str]) -> str:
    """All that somebody needs who was not there: what, where, with which versions, asked how."""
    sections: list[tuple[str, Callable[[], Any]]] = [
        ("command", lambda: " ".join(["llamafactory-cli", *words])),
        ("traceback", lambda: "".join(traceback.format_exception(error))),
        ("machine", lambda: "\n".join(f"{name}: {value}" for name, value in _machine())),
        ("configuration", lambda: "\n".join(f"{key}: {value!r}" for key, value in _configuration(words))),
    ]
    parts = []
    for title, make in sections:
        try:
            body = make()
        except Exception as failed:  # noqa: BLE001 - a report about a fault must not fail itself
            body = f"(not available: {type(failed).__name__}: {_first_line(failed)})"
        parts.append(f"[{title}]\n{body}".rstrip())
    return _hide("\n\n".join(parts) + "\n", _secrets(words, environ))


def _machine() -> list[tuple[str, str]]:
    from llama_factory import __version__, machine

    return [("llama_factory", __version__), ("platform", platform.platform()), *machine.environment()]


def _configuration(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    from llama_factory.apps.work import read

    yield from read(words[0], words[1:]).resolved().items()


def _secrets(words: Sequence[str], environ: Mapping[str, str]) -> set[str]:
    """Every value that stands beside a name which promises a secret."""
    found = {value for name, value in environ.items() if SECRET_NAMES.search(name)}
    for position, word in enumerate(words):
        name, sign, value = word.partition("=")
        if SECRET_NAMES.search(name):
            found.add(value if sign else "".join(words[position + 1 : position + 2]))
    return {value for value in found if len(value) >= 6}


def _hide(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, STAR)
    return SECRET_SHAPES.sub(STAR, text)


def _silence(stream: Any) -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining after we are done."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
