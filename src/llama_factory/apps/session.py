"""A conversation: what was said so far, what still fits the model's window, the next answer as it comes.

In: a renderer, an engine and sampling (as values: a test gives its own), then questions. Out: pieces of text.
The oldest exchanges are dropped whole when the window is full, and the caller is told how many. Nothing is
printed here and no key is read: `repl` does that, and a server will.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llama_factory.errors import InputError
from llama_factory.generation import Finish
from llama_factory.generation.text import UNFINISHED
from llama_factory.records import Message


class Prompter(Protocol):
    """What the session needs of a renderer."""

    def prompt(self, messages: Sequence[Message]) -> list[int]: ...


class Answerer(Protocol):
    """What the session needs of an engine."""

    def stream(
        self, prompt_ids: Sequence[int], sampling: Any, stop: Callable[[], bool]
    ) -> Generator[int, None, Finish]: ...


def never() -> bool:
    return False


@dataclass(slots=True)
class Answer:
    """One answer while it is being given; `text` and `finish` are true once `pieces` is exhausted.

    dropped: exchanges that no longer fitted the window. limit: the most tokens that the answer may have.
    """

    pieces: Iterator[str]
    dropped: int
    limit: int
    text: str = ""
    finish: Finish = field(default_factory=lambda: Finish("cancelled"))


@dataclass(slots=True)
class Session:
    """Asks, and remembers. window: tokens that prompt and answer share; None when the model names no limit."""

    renderer: Prompter
    engine: Answerer
    sampling: Any
    decode: Callable[[Iterable[int]], Iterator[str]]
    window: int | None
    messages: list[Message] = field(default_factory=list)

    def clear(self) -> None:
        self.messages.clear()

    def ask(self, question: str, stop: Callable[[], bool] = never) -> Answer:
        """The answer to `question` after all that was said. The exchange is remembered when the answer has
        ended, also one that `stop` or an exception ended early; one without a word is forgotten."""
        kept, prompt = self._fit([*self.messages, Message("user", question)])
        limit: int = self.sampling.max_new_tokens
        if self.window is not None:
            limit = min(limit, self.window - len(prompt))
        dropped = (len(self.messages) + 1 - len(kept)) // 2
        answer = Answer(pieces=iter(()), dropped=dropped, limit=limit)
        answer.pieces = self._pieces(answer, kept, prompt, stop)
        return answer

    def _pieces(
        self, answer: Answer, kept: list[Message], prompt: list[int], stop: Callable[[], bool]
    ) -> Iterator[str]:
        finish = Finish("cancelled")

        def ids() -> Iterator[int]:
            nonlocal finish
            finish = yield from self.engine.stream(prompt, sampling, stop)

        sampling = dataclasses.replace(self.sampling, max_new_tokens=answer.limit)
        try:
            for piece in self.decode(ids()):
                if piece.endswith(UNFINISHED) and finish.reason != "stop":
                    piece = piece.rstrip(UNFINISHED)  # it ended in the middle of a character
                if piece:
                    answer.text += piece
                    yield piece
        finally:
            answer.finish = finish
            if answer.text:
                self.messages[:] = [*kept, Message("assistant", answer.text)]

    def _fit(self, messages: list[Message]) -> tuple[list[Message], list[int]]:
        """The newest messages that leave room for an answer, and their tokens."""
        prompt = self.renderer.prompt(messages)
        if self.window is None:
            return messages, prompt
        room = max(1, min(self.sampling.max_new_tokens, self.window // 4))
        while len(prompt) + room > self.window and len(messages) > 1:
            messages = messages[2:]
            prompt = self.renderer.prompt(messages)
        if len(prompt) + 1 > self.window:
            raise InputError("apps.question-too-long", found=len(prompt), window=self.window)
        return messages, prompt
