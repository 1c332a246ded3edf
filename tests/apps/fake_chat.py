"""An engine and a renderer that need no model: bytes are tokens, and the answer is written in the question.

`say:TEXT` is answered with TEXT, `endless` never ends, `stuck` comes to no next token, `what` tells which
messages the model saw. Run as a program it is the chat as `llamafactory-cli` runs it, with this engine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from llama_factory.apps.session import Session
from llama_factory.generation import Finish
from llama_factory.generation.text import decode_stream
from llama_factory.records import Message


@dataclass(frozen=True)
class FakeSampling:
    max_new_tokens: int = 1000


class FakeRenderer:
    """One token a byte; messages end with a byte of their own."""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return list(b"".join(message.content.encode() + b"\0" for message in messages))

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        return bytes(ids).decode("utf-8", "replace")


class FakeEngine:
    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.prompts: list[str] = []

    def stream(
        self, prompt_ids: list[int], sampling: FakeSampling, stop: Callable[[], bool]
    ) -> Generator[int, None, Finish]:
        seen = bytes(prompt_ids).decode().rstrip("\0").split("\0")
        self.prompts.append("|".join(seen))
        for count, byte in enumerate(self._answer(seen)):
            if stop():
                return Finish("cancelled")
            if count == sampling.max_new_tokens:
                return Finish("length")
            time.sleep(self.pause_s)
            yield byte
        return Finish("stop")

    def _answer(self, seen: list[str]) -> Iterator[int]:
        last = seen[-1]
        if last.startswith("say:"):
            yield from last.removeprefix("say:").encode()
        elif last == "endless":
            while True:
                yield from "和而不同 ".encode()
        elif last == "stuck":
            yield from b"well"
            time.sleep(60)
        elif last == "what":
            yield from "|".join(seen).encode()


def session(window: int | None = None, *, max_new_tokens: int = 1000, pause_s: float = 0.0) -> Session:
    renderer = FakeRenderer()
    return Session(
        renderer=renderer,
        engine=FakeEngine(pause_s),
        sampling=FakeSampling(max_new_tokens),
        decode=partial(decode_stream, renderer),
        window=window,
    )


if __name__ == "__main__":
    import os

    from llama_factory.apps import faults, repl
    from llama_factory.apps.screen import open_screen

    screen = open_screen(os.environ)
    try:
        code = repl.talk(session(pause_s=0.02), screen)
    except BaseException as error:  # noqa: BLE001
        code = faults.answer(error, ["chat"], screen, os.environ)
    sys.exit(code)
