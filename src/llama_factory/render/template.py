"""One chat template, and all that has to be found out about it before it can be learned from.

In: messages. Out: `Traced` text, in the manner in which this template loses nothing. What a template does with
thoughts, calls, results and the beginning of an answer is asked of the template itself, once, with small
conversations, and never guessed from its name. Tokens are known here only as the spelling of control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os.path import commonprefix
from typing import Any

import jinja2

from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, Origin, ToolCall
from llama_factory.render.choose import variables
from llama_factory.render.jinja import TemplateRefused, compile_template, run
from llama_factory.render.manner import THOUGHT_KEYS, TOOLS, Manner, as_tools, as_turns, calling
from llama_factory.render.provenance import ProvenanceLost, Span, Traced, plain
from llama_factory.render.thoughts import CLOSE, OPEN, bare
from llama_factory.render.tokenizer import Tokenizer

FAULTS = (jinja2.TemplateError, TypeError, KeyError, AttributeError, IndexError, ValueError)
"""What a template can end with when it is handed something that it was not written for."""

PROBE_ORIGIN = Origin("the template's own check", 1)
_QUESTION = Message("user", "What is 12 plus 30?")
_THOUGHT = "Twelve and thirty"
_PLAIN = Conversation((_QUESTION, Message("assistant", "It is 42.")), PROBE_ORIGIN)
_THOUGHTFUL = Conversation((_QUESTION, Message("assistant", "42.", reasoning=_THOUGHT)), PROBE_ORIGIN)
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where"}},
            "required": ["city"],
        },
    },
}
_CALLING = (
    Message("user", "How warm is it?"),
    Message("assistant", "", tool_calls=(ToolCall("get_weather", {"city": "Helsinki"}),)),
    Message("tool", "18 degrees", name="get_weather"),
    Message("assistant", "It is mild."),
)
CALL = Conversation(_CALLING[:2], PROBE_ORIGIN, (_TOOL,))
"""A question that is answered by calling a function."""

_MARKER = re.compile(r"<[|｜][^<>|｜]{1,40}[|｜]>")


@dataclass(frozen=True)
class Template:
    """`enable_thinking` None leaves the choice to the template."""

    text: str
    tokenizer: Tokenizer
    enable_thinking: bool | None = None
    end_ids: tuple[int, ...] = field(default=())

    # -- writing ---------------------------------------------------------------------------------------

    def write(self, conversation: Conversation, *, answering: bool = False) -> Traced:
        """The conversation as text; answering: and what the template writes before an answer.

        Raises DataError `render.template-refuses`, `render.provenance-lost`, `render.template-fails`.
        """
        try:
            return self._written(conversation, self._manner(conversation), answering=answering)
        except TemplateRefused as error:
            raise DataError("render.template-refuses", where=conversation.origin, reason=str(error)) from None
        except ProvenanceLost as error:
            raise DataError("render.provenance-lost", where=conversation.origin, operation=str(error)) from None
        except FAULTS as error:
            raise DataError("render.template-fails", where=conversation.origin, reason=str(error)) from None

    def stop_after(self, text: Traced, at: int, limit: int) -> int | None:
        """Where the control token ends with which an answer stops; its last own character is before `at`.

        An answer that ends in marks of its own kind, as calls do, stops at the token that ends other answers too.
        """
        found = list(self.tokenizer.control_spellings(text, at, limit))
        usual = next((end for start, end in found if plain(text)[start:end] in self._usual_stops), None)
        return usual or (found[-1][1] if found else None)

    # -- what was found out ----------------------------------------------------------------------------

    @cached_property
    def thoughts_key(self) -> str | None:
        """Under which key the template takes thoughts, and writes them where the answer is the last."""
        for key in THOUGHT_KEYS:
            text = self._try(_THOUGHTFUL, Manner(thoughts=key))
            if text is not None and _THOUGHT in words_of(text, 1):
                return key
        return None

    @cached_property
    def keeps_thoughts_in_content(self) -> bool:
        """Whether thoughts that stand in the content are written with it."""
        text = self._try(_THOUGHTFUL)
        return text is not None and _THOUGHT in words_of(text, 1) and OPEN + CLOSE not in bare(plain(text))

    @cached_property
    def tools_manner(self) -> Manner | None:
        """How calls and results are handed over; None: the template has no form for them."""
        asked = Conversation(_CALLING, PROBE_ORIGIN, (_TOOL,))
        return next((way for way in calling(Manner(self.thoughts_key)) if self._takes_calls(asked, way)), None)

    @cached_property
    def header(self) -> str:
        """What stands before an answer and is in no prompt, since the template writes none: read, never learned."""
        question = replace(_PLAIN, messages=(_QUESTION,))
        before, prompt, full = self._try(question), self._try(question, answering=True), self._try(_PLAIN)
        if before is None or prompt is None or full is None or before != prompt or not full.startswith(plain(prompt)):
            return ""
        if self._always_asks(full):
            return ""
        between = plain(full)[len(prompt) : next((span.start for span in full.spans if span.message == 1), 0)]
        return between if between.strip() else ""

    def _always_asks(self, full: Traced) -> bool:
        """Whether the beginning of a next answer follows every conversation, even a finished one."""
        longer = self._try(replace(_PLAIN, messages=(*_PLAIN.messages, _QUESTION)))
        return longer is not None and not longer.startswith(plain(full).rstrip())

    @cached_property
    def _usual_stops(self) -> frozenset[str]:
        """Spellings of what ends a plain answer, and of what the model's own configuration stops at."""
        ends = {token for token, id in self.tokenizer.control.items() if id in self.end_ids}
        tails = [self._after_answer(more) for more in ((), (_QUESTION,))]
        if tails[0] is None or tails[1] is None:
            return frozenset(ends)
        alike = commonprefix([plain(tails[0]), plain(tails[1])])  # noqa: RUF071 - of texts, not of paths
        both = [tails[0].cut(*found) for found in self.tokenizer.control_spellings(tails[0], 0, len(alike))]
        alone = [tails[0].cut(*found) for found in self.tokenizer.control_spellings(tails[0], 0, len(tails[0]))]
        usual = both[-1:] or [token for token in alone if token in ends][:1] or alone[:1]
        return frozenset({plain(token) for token in usual} | ends)

    def _after_answer(self, more: tuple[Message, ...]) -> Traced | None:
        """What stands behind a plain answer: at the end of a conversation, or before another question."""
        text = self._try(replace(_PLAIN, messages=(*_PLAIN.messages, *more)))
        if text is None:
            return None
        return text.cut(max((span.end for span in text.spans if span.message == 1), default=len(text)), len(text))

    # -- inside ------------------------------------------------------------------------------------------

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return compile_template(self.text)

    def _manner(self, conversation: Conversation) -> Manner:
        if any(message.tool_calls or message.role == "tool" for message in conversation.messages):
            if self.tools_manner is None:
                raise DataError("render.no-form-for-tools", where=conversation.origin)
            return self.tools_manner
        if any(message.reasoning is not None for message in conversation.messages):
            return Manner(self.thoughts_key)
        return Manner()

    def _written(self, conversation: Conversation, manner: Manner, *, answering: bool) -> Traced:
        given: dict[str, Any] = variables(self.tokenizer, add_generation_prompt=answering)
        given["tools"] = as_tools(conversation.tools)
        if self.enable_thinking is not None:
            given["enable_thinking"] = given["thinking"] = self.enable_thinking  # families differ in its name
        return run(self._compiled, self._turns(conversation.messages, manner), **given)

    def _turns(self, messages: Sequence[Message], manner: Manner) -> list[dict[str, Any]]:
        return as_turns(messages, manner)

    def _try(self, asked: Conversation, manner: Manner | None = None, *, answering: bool = False) -> Traced | None:
        try:
            return self._written(asked, manner or Manner(), answering=answering)
        except (TemplateRefused, ProvenanceLost, *FAULTS):
            return None

    def _takes_calls(self, asked: Conversation, way: Manner) -> bool:
        text = self._try(asked, way)
        if text is None or self._try(replace(asked, messages=asked.messages[:2]), way) is None:
            return False
        found = [words_of(text, number) for number in range(4)]
        if not ("get_weather" in found[1] and "Helsinki" in found[1] and found[2].count("18 degrees") == 1):
            return False
        if found[3].strip() != "It is mild.":
            return False
        # A role that the template has no token for is written out in letters: no other turn has such a mark.
        usual = self._try(_PLAIN) or ""
        spelled = {*_MARKER.findall(plain(text))} - {*_MARKER.findall(plain(usual))}
        return all(self.tokenizer.rust.token_to_id(mark) is not None for mark in spelled)


def words_of(text: Traced, message: int) -> str:
    """All characters of `text` that came from `message`."""
    return "".join(plain(text)[span.start : span.end] for span in spans_of(text, message))


def spans_of(text: Traced, message: int) -> Iterator[Span]:
    return (span for span in text.spans if span.message == message)


def mentions_tools(text: Traced, tools: Sequence[Any]) -> bool:
    """Whether every tool's name stands in the text."""
    found = words_of(text, TOOLS)
    return all(str(tool["function"]["name"]) in found for tool in tools)
