"""`llamafactory-cli chat`: a conversation in a terminal, or questions from a pipe.

In: a `Session`, a `Screen`, and the two ends that a person holds, the keyboard and Ctrl-C. Out: the answer,
piece by piece, on stdout; everything else on stderr, so that `chat FILE < questions > answers` holds answers
only. A terminal gets prompts, line editing and `clear`, `help`, `exit`; from a pipe each line is a question.
No model is loaded here and no file is written.
"""

from __future__ import annotations

import contextlib
import locale
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import BinaryIO

from llama_factory.apps.screen import Screen
from llama_factory.apps.session import Session
from llama_factory.apps.words import said
from llama_factory.errors import InputError, LlamaFactoryError, SeveralErrors

Ask = Callable[[str], str]


def talk(session: Session, screen: Screen) -> int:
    """The conversation that fits the two ends this process has."""
    if sys.stdin is not None and sys.stdin.isatty() and screen.width is not None:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - line editing and history for input(), this session only
        return converse(session, screen, ask=input)
    if sys.stdin is None:
        return 0
    if sys.stdin.isatty():  # a person types, and the answers go to a file
        screen.note(said("chat.hint", screen.language))
    return answer_lines(session, screen, questions(sys.stdin.buffer))


# --- a terminal --------------------------------------------------------------------------------------------


def converse(session: Session, screen: Screen, *, ask: Ask) -> int:
    """Ask and answer until `exit`, the end of input, or Ctrl-C twice at the prompt."""
    screen.note(said("chat.hint", screen.language))
    leaving = False
    while True:
        try:
            question = _mended(ask(_prompt(screen)))
        except EOFError:
            screen.line()
            return 0
        except KeyboardInterrupt:
            screen.line()
            if leaving:
                return 0
            leaving = True
            screen.note(said("chat.again", screen.language))
            continue
        leaving = False
        word = question.strip().lower()
        if word == "exit":
            return 0
        if word in ("clear", "help"):
            _obey(word, session, screen)
        elif word:
            _answer(session, screen, question)
            screen.line()


def _obey(word: str, session: Session, screen: Screen) -> None:
    if word == "clear":
        session.clear()
        screen.note(said("chat.cleared", screen.language))
    else:
        screen.note(said("chat.help", screen.language))


def _answer(session: Session, screen: Screen, question: str) -> None:
    """One answer in the terminal. A letter does not end the conversation; a fault of the program does."""
    language = screen.language
    try:
        with interruptible() as stop, without_echo_of_ctrl_c():
            answer = session.ask(question, stop)
            if answer.dropped:
                screen.note(said("chat.dropped", language, count=answer.dropped, window=session.window))
            screen.write(screen.bold(said("chat.assistant", language)))
            for piece in answer.pieces:
                screen.write(visible(piece))
            screen.line()
    except KeyboardInterrupt:  # the second Ctrl-C: the model did not come to the next token
        screen.line()
        screen.note(said("chat.stopped", language))
        return
    except (LlamaFactoryError, SeveralErrors) as error:
        screen.note(error.letter(language))
        return
    if answer.finish.reason == "cancelled":
        screen.note(said("chat.stopped", language))
    elif answer.finish.reason == "length":
        screen.note(said("chat.cut", language, limit=answer.limit))
    elif not answer.text:
        screen.note(said("chat.silent", language))


def _prompt(screen: Screen) -> str:
    """The prompt; its codes are wrapped so that line editing does not count them."""
    text = said("chat.user", screen.language)
    return f"\001\x1b[1m\002{text}\001\x1b[0m\002" if screen.colour_out else text


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """While it lasts, the first Ctrl-C asks the answer to stop at its next token; the second breaks it off."""
    asked = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def without_echo_of_ctrl_c() -> Iterator[None]:
    """While it lasts, the terminal does not write `^C` into the answer. Harmless if we are killed meanwhile."""
    try:
        import termios
    except ImportError:  # not a system with such terminals
        yield
        return
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (termios.error, OSError, ValueError):  # the keyboard is none: a test, a notebook
        yield
        return
    quiet = [*before]
    quiet[3] = before[3] & ~termios.ECHOCTL
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def visible(text: str) -> str:
    """Without the control characters by which an answer could drive the terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)


def _mended(text: str) -> str:
    """Bytes that were not text in the terminal's encoding come as lone surrogates; no tokenizer takes them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- a pipe ------------------------------------------------------------------------------------------------


def questions(stream: BinaryIO) -> Iterator[str]:
    """Lines of UTF-8, else of the locale's encoding; a line that is neither is refused by its number."""
    for number, raw in enumerate(stream, start=1):
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        for encoding in ("utf-8", locale.getpreferredencoding(False)):
            with contextlib.suppress(UnicodeDecodeError, LookupError):
                text = raw.decode(encoding)
                break
        else:
            raise InputError("apps.not-text", where=f"stdin:{number}")
        yield text.strip("\r\n")


def answer_lines(session: Session, screen: Screen, lines: Iterator[str]) -> int:
    """One answer a question, plain. The conversation goes on from line to line; the line `clear` forgets it."""
    language = screen.language
    for line in lines:
        word = line.strip().lower()
        if word == "exit":
            break
        if word in ("clear", "help"):
            _obey(word, session, screen)
        elif word:
            answer = session.ask(line)
            if answer.dropped:
                screen.note(said("chat.dropped", language, count=answer.dropped, window=session.window))
            for piece in answer.pieces:
                screen.write(piece)
            screen.line()
            if answer.finish.reason == "length":
                screen.note(said("chat.cut", language, limit=answer.limit))
    return 0
