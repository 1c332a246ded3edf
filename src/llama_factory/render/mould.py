"""What a template writes around the contents of one shape of conversation, found once and filled many times.

In: a `Template`, conversations. Out: the `Drawn` examples that `examples.draw` gives, without running the template.
Two conversations of the same shape (roles, which turns are trained) differ in their contents only, and a template
that does not look into a content writes the same around every one. So the first rows of a shape are drawn; then
contents made up here are drawn, their looks noted (`looks.Looked`), and what stands around them becomes the mould. It
takes a row whose contents answer every noted question as the made-up ones did, are not blank at either end and have
no thoughts. Everything else is drawn: tools, thoughts, rewritten histories, templates that look in other ways. One
filled row in 64 is drawn too and compared; the first difference ends all moulds and raises `StartAgain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_factory.errors import DataError, StartAgain
from llama_factory.records import Conversation, Message
from llama_factory.render.examples import Drawn, Turn, draw
from llama_factory.render.looks import ASK, Look, Looked, Unfollowed
from llama_factory.render.manner import Manner
from llama_factory.render.provenance import Span, Traced, plain
from llama_factory.render.template import PROBE_ORIGIN, Template
from llama_factory.render.thoughts import CLOSE, OPEN

SEEN_BEFORE = 4
"""So many rows of a shape are drawn before a mould is tried: a rare shape is not worth one."""

MOST_SHAPES = 1000
WATCHED_SHARE = 64

Shape = tuple[tuple[str, bool], ...]
"""Role and whether it is trained, of every message."""

Place = tuple[int, int]
"""So many contents stand before it, and so many characters of the template."""

_MADE_UP = (
    "Content {} of a turn, in words.",
    "{}) f(x) = 0?\n\n\tAnd “more”: 你好 <b>&amp;</b> {{% if a %}}{{{{ b }}}}{{% endif %}} [INST] ### é",
)


@dataclass(frozen=True, slots=True)
class Mould:
    """pieces: the template's own text, one more than `order`, which names the message that stands after each."""

    pieces: tuple[str, ...]
    order: tuple[int, ...]
    turns: tuple[tuple[int, Place, Place], ...]
    borders: tuple[Place, ...]
    looks: tuple[Look, ...]

    def takes(self, contents: Sequence[str]) -> bool:
        for content in contents:
            if not content or content.strip() != content or OPEN in content or CLOSE in content:
                return False
        return all(ASK[question](contents[at], constant) is answer for at, question, constant, answer in self.looks)

    def fill(self, conversation: Conversation, contents: Sequence[str]) -> Drawn:
        texts = [self.pieces[0]]
        spans: list[Span] = []
        before = [0]  # characters of contents before the first, second, ... of them
        at, said = len(self.pieces[0]), 0
        for number, piece in zip(self.order, self.pieces[1:], strict=True):
            content = contents[number]
            texts += (content, piece)
            end = at + len(content)
            spans.append(Span(at, end, number))
            at = end + len(piece)
            said += len(content)
            before.append(said)
        turns = tuple([Turn(one, before[a] + b, before[c] + d) for one, (a, b), (c, d) in self.turns])
        borders = tuple([before[a] + b for a, b in self.borders])
        return Drawn(conversation, Traced("".join(texts), tuple(spans)), turns, borders)


class Moulds:
    """The moulds of one template, made as shapes are met."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._watching = _Watching.over(template)
        self._of: dict[Shape, Mould | int | None] = {}
        self._filled = 0
        self.off = False

    def draw(self, conversation: Conversation) -> list[Drawn]:
        """As `examples.draw`. Raises DataError `render.*` and StartAgain."""
        shape = None if self.off else shape_of(conversation)
        mould = None if shape is None else self._mould(shape)
        if mould is None:
            return draw(self._template, conversation)
        contents = [message.content for message in conversation.messages]
        if not mould.takes(contents):
            return draw(self._template, conversation)
        filled = mould.fill(conversation, contents)
        self._filled += 1
        if self._filled % WATCHED_SHARE == 1:
            self._compare(filled)
        return [filled]

    def _mould(self, shape: Shape) -> Mould | None:
        found = self._of.get(shape, 0)
        if not isinstance(found, int):
            return found
        if found < SEEN_BEFORE:
            if found or len(self._of) < MOST_SHAPES:
                self._of[shape] = found + 1
            return None
        mould = self._of[shape] = mould_of(self._watching, shape)
        return mould

    def _compare(self, filled: Drawn) -> None:
        try:
            drawn = draw(self._template, filled.conversation)
        except DataError:
            drawn = []
        if len(drawn) != 1 or not same(drawn[0], filled):
            self.off = True
            raise StartAgain("render.mould-differs", row=str(filled.conversation.origin))


def shape_of(conversation: Conversation) -> Shape | None:
    """None where a row has more than roles and contents."""
    if conversation.tools:
        return None
    shape = []
    for message in conversation.messages:
        if message.tool_calls or message.reasoning is not None or message.name or message.tool_call_id:
            return None
        if message.role == "tool":
            return None
        shape.append((message.role, message.weight != 0.0))
    return tuple(shape)


def mould_of(template: _Watching, shape: Shape) -> Mould | None:
    """None where nothing can be said about contents that were not seen."""
    found = [_pressed(template, shape, made_up) for made_up in _MADE_UP]
    return found[0] if found[0] == found[1] else None


def same(one: Drawn, other: Drawn) -> bool:
    return (
        plain(one.text) == plain(other.text)
        and one.text.spans == other.text.spans
        and one.turns == other.turns
        and one.borders == other.borders
        and one.conversation == other.conversation
    )


@dataclass(frozen=True)
class _Watching(Template):
    """Writes as the template does, and notes how it looks into contents."""

    @classmethod
    def over(cls, template: Template) -> _Watching:
        found = cls(template.text, template.tokenizer, template.enable_thinking, template.end_ids)
        for fact in ("_compiled", "thoughts_key", "keeps_thoughts_in_content", "header", "_usual_stops"):
            found.__dict__[fact] = getattr(template, fact)  # not asked again: its probes are no looks
        found.__dict__["noted"] = []
        return found

    @property
    def noted(self) -> list[Look]:
        found: list[Look] = self.__dict__["noted"]
        return found

    def _turns(self, messages: Sequence[Message], manner: Manner) -> list[dict[str, Any]]:
        turns = super()._turns(messages, manner)
        for number, turn in enumerate(turns):
            turn["content"] = Looked.over(plain(turn["content"]), number, self.noted)
        return turns

    def _written(self, conversation: Conversation, manner: Manner, *, answering: bool) -> Traced:
        text = super()._written(conversation, manner, answering=answering)
        return Traced(plain(text), text.spans)


def _pressed(template: _Watching, shape: Shape, made_up: str) -> Mould | None:
    messages = tuple(
        Message(role, made_up.format(f"{number}.{role}"), weight=None if trained else 0.0)  # type: ignore[arg-type]
        for number, (role, trained) in enumerate(shape)
    )
    conversation = Conversation(messages, PROBE_ORIGIN)
    template.noted.clear()
    try:
        drawn = draw(template, conversation)
    except (DataError, Unfollowed):
        return None
    if len(drawn) != 1 or drawn[0].conversation != conversation:
        return None
    looks = tuple(dict.fromkeys(template.noted))
    return _taken_apart(drawn[0], [message.content for message in messages], looks)


def _taken_apart(drawn: Drawn, contents: Sequence[str], looks: tuple[Look, ...]) -> Mould | None:
    text, spans = plain(drawn.text), drawn.text.spans
    if any(span.message < 0 or text[span.start : span.end] != contents[span.message] for span in spans):
        return None
    cuts = [0, *(end for span in spans for end in (span.start, span.end)), len(text)]
    pieces = tuple(text[left:right] for left, right in zip(cuts[::2], cuts[1::2], strict=True))
    places = {at: _place(at, spans) for turn in drawn.turns for at in (turn.start, turn.end)}
    places |= {at: _place(at, spans) for at in drawn.borders}
    if None in places.values():
        return None
    known = {at: place for at, place in places.items() if place is not None}
    return Mould(
        pieces=pieces,
        order=tuple(span.message for span in spans),
        turns=tuple((turn.message, known[turn.start], known[turn.end]) for turn in drawn.turns),
        borders=tuple(known[at] for at in drawn.borders),
        looks=looks,
    )


def _place(at: int, spans: Sequence[Span]) -> Place | None:
    """None inside of a content."""
    if any(span.start < at < span.end for span in spans):
        return None
    before = [span for span in spans if span.end <= at]
    return len(before), at - sum(span.end - span.start for span in before)
