"""The two streams a command talks to, and what each of them can bear.

In: the process's stdout and stderr and its environment, read once by `main`. Out: a `Screen` with a
language, a width and the right to use bold or not, and `line` and `note` to write with.

A terminal gets its width and, unless NO_COLOR is set, bold and dim. A pipe or a file gets plain lines
that depend on nothing: no escape codes, no wrapping. This file knows no command.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from llama_factory.errors import Language

BOLD, DIM, END = "\x1b[1m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command writes: results to `out`, everything about them to `err`.

    width: columns of the terminal behind `out`; None when it is a file or a pipe.
    """

    out: TextIO
    err: TextIO
    language: Language = "en"
    width: int | None = None
    colour_out: bool = False

    def line(self, text: str = "") -> None:
        """One line of the result, on its way at once."""
        self.out.write(text + "\n")
        self.out.flush()

    def write(self, text: str) -> None:
        """A piece of a line, on its way at once."""
        self.out.write(text)
        self.out.flush()

    def note(self, text: str = "") -> None:
        """One line about the work, kept out of what a script reads."""
        self.err.write(text + "\n")
        self.err.flush()

    def bold(self, text: str) -> str:
        return f"{BOLD}{text}{END}" if self.colour_out and text else text

    def dim(self, text: str) -> str:
        return f"{DIM}{text}{END}" if self.colour_out and text else text

    def paragraph(self, text: str, *, indent: str = "") -> None:
        """Text wrapped to the terminal, or as one line where nobody knows the width."""
        for piece in wrap(text, self.width, len(indent)):
            self.line((indent + piece).rstrip())

    def table(self, rows: Sequence[Sequence[str]], *, indent: str = "  ") -> None:
        """Columns aligned; the last one is wrapped under itself on a terminal. The first is bold."""
        if not rows:
            return
        columns = max(len(row) for row in rows)
        wide = [max((cells(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns - 1)]
        start = len(indent) + sum(wide) + 2 * len(wide)
        room = self.width is not None and self.width - start >= 24
        for row in rows:
            head = [pad(cell, wide[i]) for i, cell in enumerate(row[: columns - 1])]
            if head:
                head[0] = self.bold(head[0])
            last = row[columns - 1] if len(row) == columns else ""
            pieces = wrap(last, self.width, start) if room else [last]
            self.line((indent + "  ".join([*head, pieces[0]])).rstrip())
            for piece in pieces[1:]:
                self.line(" " * start + piece)


def open_screen(environ: Mapping[str, str]) -> Screen:
    """The screen of this process. Called once, by `main`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # started with the descriptor closed: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    out, err = sys.stdout, sys.stderr
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return Screen(
        out=out,
        err=err,
        language=pick_language(environ, err.encoding or "utf-8"),
        width=max(40, shutil.get_terminal_size().columns) if out.isatty() else None,
        colour_out=out.isatty() and not plain,
    )


def fill_closed_descriptors() -> None:
    """A process started with 0, 1 or 2 closed would give that number to the next file it opens,
    and what a library prints would then be written into a checkpoint."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def pick_language(environ: Mapping[str, str], encoding: str = "utf-8") -> Language:
    """LLAMA_FACTORY_LANG decides; else the locale, first of LC_ALL, LC_MESSAGES, LANG that says anything.

    Chinese only where the stream can carry it: a line of question marks helps nobody.
    """
    names = ("LLAMA_FACTORY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    said = next((environ[name] for name in names if environ.get(name)), "")
    if not said.lower().startswith("zh"):
        return "en"
    try:
        "中文".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "en"
    return "zh"


def cells(text: str) -> int:
    """Columns that the text takes in a terminal: a Chinese sign takes two, an accent none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in strip_codes(text)
    )


def strip_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def pad(text: str, width: int) -> str:
    return text + " " * max(0, width - cells(text))


def wrap(text: str, width: int | None, start: int) -> list[str]:
    """Pieces that fit between column `start` and `width`; broken at spaces and between Chinese signs."""
    if width is None or cells(text) <= width - start:
        return [text]
    pieces, line = [], ""
    for word in _words(text):
        if line and cells(line) + cells(word.rstrip()) > width - start:
            pieces.append(line.rstrip())
            line = ""
        line += word
    return [*pieces, line.rstrip()] if line.strip() else pieces


def _words(text: str) -> list[str]:
    """Units that stay on one line: a word with the space after it, or one wide sign with the
    punctuation that may not begin a line."""
    wide = r"[\u2e80-\u9fff\uff00-\uffef\u3000-\u303f]"
    closing = r"[\u3001\u3002\uff01\uff09\uff0c\uff1a\uff1b\uff1f\u300b\u300d\u300f\u201d\u2019]"
    return re.findall(rf"{wide}{closing}*\s*|(?:(?!{wide})\S)+{closing}*\s*|\s+", text)
