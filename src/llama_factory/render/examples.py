"""A conversation -> the texts to learn from, and where in each the model is the one who writes.

In: a `Template`, a `Conversation`. Out: `Drawn` examples. The rule is that training sees what serving will send: an
answer begins where the prompt ends that the template writes before it, and goes up to and including the control token
that stops it. Where the whole conversation shows every trained answer as it was when it was the last, it is one
example; where the template rewrites history (drops thoughts, ends earlier answers otherwise), an answer that it
rewrites is an example of its own, with the history that serving would have sent. What a template loses is refused.
Deliberately no tokens here: only characters and the spelling of control tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from types import MappingProxyType
from typing import NamedTuple

from llama_factory.errors import DataError
from llama_factory.records import Conversation, Message, ToolCall
from llama_factory.render.provenance import Span, Traced, join, plain
from llama_factory.render.template import Template, mentions_tools, spans_of, words_of
from llama_factory.render.thoughts import CLOSE, OPEN, apart, bare, empty_at_start, left_empty, left_open, words


class Turn(NamedTuple):
    """Characters `start` to `end` are what the model writes as message number `message`, its stop included."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """conversation: as given, weights 0 where another example trains the turn. borders: where any answer begins."""

    conversation: Conversation
    text: Traced
    turns: tuple[Turn, ...]
    borders: tuple[int, ...]


class _Answer(NamedTuple):
    """The conversation up to one answer; start, end: of the answer. `as_written`: the template wrote all of it."""

    text: Traced
    start: int
    end: int
    as_written: bool


class _Talk:
    """A conversation under a template. The prompt before each message is asked for more than once, and written once."""

    def __init__(self, template: Template, conversation: Conversation) -> None:
        self.template = template
        self.heard = _heard(template, conversation)
        self._prompts: dict[int, Traced] = {}

    def asked(self, number: int) -> Traced:
        """What is sent before message `number` is written."""
        if number not in self._prompts:
            before = replace(self.heard, messages=self.heard.messages[:number])
            self._prompts[number] = self.template.write(before, answering=True)
        return self._prompts[number]


def draw(template: Template, conversation: Conversation) -> list[Drawn]:
    """At least one example. Raises DataError `render.*`."""
    talk = _Talk(template, conversation)
    heard = talk.heard
    trained = [n for n, one in enumerate(heard.messages) if one.role == "assistant" and one.weight != 0.0]
    for number in trained:
        if not heard.messages[number].content.strip() and not heard.messages[number].tool_calls:
            raise DataError("render.empty-answer", where=heard.origin, turn=number + 1)
    full = template.write(heard)
    last = len(heard.messages) - 1
    final = _answer(talk, last, full) if last in trained else None
    text = final.text if final and final.as_written else full
    together: list[Turn] = [Turn(last, final.start, final.end)] if final and final.as_written else []
    examples: list[Drawn] = []
    for number in reversed([n for n in trained if n != last]):
        answer = _answer(talk, number, full)
        if answer.as_written and _alike(answer, full) and (final is None or final.as_written):
            together.insert(0, Turn(number, answer.start, answer.end))
        else:
            examples.insert(0, _drawn(talk, answer.text, (Turn(number, answer.start, answer.end),), number))
    if final and not final.as_written:
        examples.append(_drawn(talk, final.text, (Turn(last, final.start, final.end),), last))
    elif together or not examples:
        examples.append(_drawn(talk, text, tuple(together), last))
    return [_given_back(conversation, example) for example in examples]


def prompt(template: Template, conversation: Conversation) -> tuple[Traced, tuple[int, ...]]:
    """The text up to where the model speaks next, and where its earlier answers begin."""
    talk = _Talk(template, conversation)
    text = talk.asked(len(conversation.messages))
    if template.header and text == template.write(talk.heard):
        text = join("", (text, template.header))
    return text, _borders(talk, text, len(conversation.messages))


def _heard(template: Template, conversation: Conversation) -> Conversation:
    """Thoughts apart from answers where the template knows what thoughts are."""
    if template.thoughts_key is None and template.keeps_thoughts_in_content:
        return conversation
    messages = tuple(apart(message) for message in conversation.messages)
    return conversation if messages == conversation.messages else replace(conversation, messages=messages)


def _answer(talk: _Talk, number: int, full: Traced) -> _Answer:
    """Message `number` as the last one: what is sent before it, what the model then writes."""
    template, heard = talk.template, talk.heard
    last = number == len(heard.messages) - 1
    so_far = heard if last else replace(heard, messages=heard.messages[: number + 1])
    own = full if last else template.write(so_far)
    asked = talk.asked(number)
    written = own.startswith(plain(asked)) and not _loses_thoughts(template, heard.messages[number])
    if not written:
        built = _built(template, so_far, own, asked) or _rejoined(template, own, asked, number)
        written, own = built is None, built or own
    spoken = _spoken(own, number, heard)
    begins = own.startswith(plain(asked))
    if not begins and (heard.messages[number].tool_calls or heard.messages[number].reasoning):
        raise DataError(
            "render.begins-otherwise", where=heard.origin, turn=number + 1, prompt=_short(plain(asked)[-40:])
        )
    start = len(asked) if begins else spoken[0].start
    if template.header and plain(own).startswith(template.header, start):
        start += len(template.header)
    limit = next((span.start for span in own.spans if span.start >= spoken[-1].end), len(own))
    end = template.stop_after(own, spoken[-1].end, limit)
    if end is None:
        own, end = _stopped(template, so_far, own, spoken[-1].end, full)
    if any(span.message != number and start <= span.start < end for span in own.spans):
        raise DataError("render.turns-mixed", where=heard.origin, turn=number + 1)
    return _Answer(own.cut(0, end) if not last or not written else own, start, end, written)


def _spoken(text: Traced, number: int, heard: Conversation) -> Sequence[Span]:
    spans = [span for span in spans_of(text, number) if span.start < span.end]
    if not spans:
        message = heard.messages[number]
        raise DataError(
            "render.content-lost", where=heard.origin, role=message.role, turn=number + 1,
            wanted=_short(message.content), found="''",
        )  # fmt: skip
    return spans


def _built(template: Template, so_far: Conversation, own: Traced, asked: Traced) -> Traced | None:
    """The answer put behind its prompt by hand, where the template itself does not write it there.

    A prompt may end with a mark that opens the thoughts, or with empty thoughts, and the finished conversation leave
    both out. What is sent is the prompt; what the model writes is the answer as the template has it, its thoughts in
    front.
    """
    number = len(so_far.messages) - 1
    message = so_far.messages[number]
    opened, empty = left_open(asked), left_empty(asked)
    if template.header:
        return None
    if empty is not None and message.reasoning:
        raise DataError("render.thinks-though-off", where=so_far.origin, turn=number + 1)
    if opened is None and empty is None and not _loses_thoughts(template, message):
        return None
    own = template.write(replace(so_far, messages=(*so_far.messages[:-1], replace(message, reasoning=None))))
    mark = empty if opened is None else opened.start
    base = asked if mark is None else asked.cut(0, mark)
    if not own.startswith(plain(base)):
        return None
    answer = own.cut(len(base), len(own))
    if empty is not None:
        return join("", (asked, answer))
    thoughts = Traced.of(message.reasoning or "", number)
    blank = empty_at_start(answer)
    if opened and blank is None:
        close = "" if plain(answer).startswith(opened.close.strip()) else opened.close
        return join("", (asked, thoughts, close, answer))
    if blank is not None:
        at, line = blank
        before = () if opened else (answer.cut(0, at), line)
        return join("", (asked, *before, thoughts, line, answer.cut(at, len(answer)).lstrip()))
    return join("", (asked, f"{OPEN}\n", thoughts, f"\n{CLOSE}\n\n", answer))


def _loses_thoughts(template: Template, message: Message) -> bool:
    return bool(message.reasoning) and template.thoughts_key is None and not template.keeps_thoughts_in_content


def _rejoined(template: Template, own: Traced, asked: Traced, number: int) -> Traced | None:
    """The prompt, and behind it what the template writes for the answer, where an answer begins otherwise there.

    What both say before it is taken once: one beginning goes on where the other ends, or they part at a control token.
    """
    first = next(spans_of(own, number), None)
    if first is None:
        return None
    after = max((span.end for span in own.spans if span.end <= first.start), default=0)
    ends = max((span.end for span in asked.spans), default=0)
    mine, theirs = plain(own)[after : first.start], plain(asked)[ends:]
    shared = len(commonprefix([mine, theirs]))  # noqa: RUF071 - of texts, not of paths
    if shared not in (len(mine), len(theirs)):
        marks = template.tokenizer.control_spellings(own, after, first.start)
        shared = next((start - after for start, end in marks if start <= after + shared < end), -1)
    return None if shared < 0 else join("", (asked, own.cut(after + shared, len(own))))


def contradicts(template: Template, conversation: Conversation) -> bool:
    """Whether the template asks for an answer otherwise than its finished conversation begins it, thoughts aside.

    conversation: a question and its answer come first.
    """
    so_far = replace(conversation, messages=conversation.messages[:2])
    own = template.write(so_far)
    asked = template.write(replace(conversation, messages=conversation.messages[:1]), answering=True)
    return not own.startswith(plain(asked)) and _built(template, so_far, own, asked) is None


def _stopped(template: Template, so_far: Conversation, own: Traced, at: int, full: Traced) -> tuple[Traced, int]:
    """Where no control token follows the answer, the one that begins the next turn is what stops it."""
    next_turn = Message("user", "?")
    if so_far.messages[-1].tool_calls:
        next_turn = Message("tool", "?", tool_call_id=so_far.messages[-1].tool_calls[-1].id)
    number = len(so_far.messages) - 1
    longer = full
    if len(full) <= at or not _same(full, own, at) or full is own:
        longer = template.write(replace(so_far, messages=(*so_far.messages, next_turn)))
    ended = max((span.end for span in spans_of(longer, number)), default=len(longer))
    limit = next((span.start for span in longer.spans if span.message > number), len(longer))
    found = next(template.tokenizer.control_spellings(longer, ended, limit), None)
    if found is None or not plain(longer).startswith(plain(own)[at:].rstrip(), ended):
        raise DataError("render.no-stop", where=so_far.origin, turn=number + 1, after=_short(plain(own)[at:]))
    text = join("", (own.cut(0, at), longer.cut(ended, found[1])))
    return text, len(text)


def _drawn(talk: _Talk, text: Traced, turns: tuple[Turn, ...], last: int) -> Drawn:
    """The example, with nothing lost in it: every message is found in its text."""
    heard = talk.heard
    trained = {turn.message: turn.start for turn in turns}
    for number, message in enumerate(heard.messages[: last + 1]):
        _require_all(text, number, message, heard, with_thoughts=number in trained)
    if heard.tools and not mentions_tools(text, heard.tools):
        raise DataError("render.no-form-for-tools", where=heard.origin)
    messages = tuple(
        replace(message, weight=0.0) if message.role == "assistant" and number not in trained else message
        for number, message in enumerate(heard.messages[: last + 1])
    )
    borders = _borders(talk, text, last + 1, trained)
    return Drawn(replace(heard, messages=messages), text, turns, borders)


def _given_back(conversation: Conversation, example: Drawn) -> Drawn:
    """With the messages as they came in: what was taken apart here would not be found in another text."""
    weights = [message.weight for message in example.conversation.messages]
    messages = tuple(
        message if message.weight == weight else replace(message, weight=weight)
        for message, weight in zip(conversation.messages, weights, strict=False)
    )
    return replace(example, conversation=replace(conversation, messages=messages))


def _borders(talk: _Talk, text: Traced, upto: int, known: Mapping[int, int] = MappingProxyType({})) -> tuple[int, ...]:
    """Where each answer before message `upto` begins: no token may reach across, since serving cuts there too."""
    borders = []
    header = talk.template.header
    for number, message in enumerate(talk.heard.messages[:upto]):
        if message.role != "assistant":
            continue
        spoken = next(spans_of(text, number), None)
        if number in known:
            borders.append(known[number])
        elif text.startswith(plain(talk.asked(number))):
            border = len(talk.asked(number))
            borders.append(border + len(header) if header and plain(text).startswith(header, border) else border)
        elif spoken is not None:
            borders.append(spoken.start)
    return tuple(borders)


def _require_all(text: Traced, number: int, message: Message, heard: Conversation, *, with_thoughts: bool) -> None:
    """Raises DataError `render.content-lost` where a template leaves out or changes what a message says."""
    found = words_of(text, number)
    if message.tool_calls:
        first = bare(message.reasoning or "") if with_thoughts else ""  # thoughts behind the calls would be none
        complete = bare(found).startswith(first) and bare(message.content) in bare(found)
        complete = complete and all(_called(call, found) for call in message.tool_calls)
    elif message.role == "tool":
        complete = bare(message.content) in bare(found)  # its name and id may stand beside it
    elif message.reasoning is None and OPEN not in message.content:
        complete = found.strip() == message.content.strip()
    else:
        with_all = words(message, with_thoughts=True)
        complete = bare(found) == with_all or (not with_thoughts and bare(found) == words(message, with_thoughts=False))
    if not complete:
        raise DataError(
            "render.content-lost", where=heard.origin, role=message.role, turn=number + 1,
            wanted=_short(message.content), found=_short(found),
        )  # fmt: skip


def _called(call: ToolCall, found: str) -> bool:
    return call.name in found and all(leaf in found for leaf in _leaves(call.arguments))


def _leaves(value: object) -> Iterator[str]:
    """Every key and every text of the arguments, as JSON or a template may write it: without what has to be escaped."""
    if isinstance(value, str):
        yield from (part for part in _ESCAPED.split(value) if part)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(key)
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)


_ESCAPED = re.compile(r"[^\w .,:/()+=*-]+|_", re.ASCII)


def _alike(answer: _Answer, full: Traced) -> bool:
    return _same(full, answer.text, answer.end)


def _same(one: Traced, other: Traced, end: int) -> bool:
    """The same characters from the same messages, up to `end`."""
    if len(one) < end or plain(one)[:end] != plain(other)[:end]:
        return False
    return one.cut(0, end).spans == other.cut(0, end).spans


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + " …")
