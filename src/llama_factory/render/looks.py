"""Text of a message that notes how a template looks into it.

In: a message's content. Out: the same characters, `Traced`, and a list of looks: whether it contains, starts with,
ends with or equals a constant of the template. Stripping, splitting and replacing that leave the content as it is are
followed through the question that decides it. Any other look raises `Unfollowed`: for such a template nothing can be
said about rows that were not seen. It deliberately does not decide what the looks are good for: `mould` does.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from llama_factory.render.provenance import Span, Traced, plain

Question = Literal["contains", "starts", "ends", "equals"]

ASK: Mapping[Question, Callable[[str, Any], bool]] = {
    "contains": lambda content, constant: constant in content,
    "starts": lambda content, constant: content.startswith(constant),
    "ends": lambda content, constant: content.endswith(constant),
    "equals": lambda content, constant: content == constant,
}


class Unfollowed(Exception):
    """A template looked into a content in a way from which nothing follows for other contents."""


class Look(NamedTuple):
    """What a template asked of the content of `message`, and what it heard."""

    message: int
    question: Question
    constant: str | tuple[str, ...]
    answer: bool


class Looked(Traced):
    """message: whose content all of this is; None for text put together from several pieces."""

    __slots__ = ("looks", "message")
    looks: list[Look]
    message: int | None

    @classmethod
    def over(cls, text: str, message: int, looks: list[Look]) -> Looked:
        self = cls(text, (Span(0, str.__len__(text), message),))
        self.looks, self.message = looks, message
        return self

    def around(self, text: str, spans: tuple[Span, ...]) -> Looked:
        found = Looked(text, spans)
        found.looks, found.message = self.looks, None
        return found

    def _asked(self, question: Question, constant: Any) -> bool:
        texts = constant if isinstance(constant, tuple) else (constant,)
        if self.message is None or not all(type(text) is str or not getattr(text, "spans", True) for text in texts):
            raise Unfollowed(question)
        plainly = tuple(map(plain, texts)) if isinstance(constant, tuple) else plain(constant)
        answer = ASK[question](plain(self), plainly)
        self.looks.append(Look(self.message, question, plainly, answer))
        return answer

    def _unless(self, question: Question, constant: Any) -> Looked:
        if self._asked(question, constant):
            raise Unfollowed(question)
        return self

    def __contains__(self, key: object) -> bool:
        return self._asked("contains", key)

    def startswith(self, prefix: Any, *between: Any) -> bool:
        return self._asked("starts", prefix) if not between else self._never()

    def endswith(self, suffix: Any, *between: Any) -> bool:
        return self._asked("ends", suffix) if not between else self._never()

    def __eq__(self, other: object) -> bool:
        return self._asked("equals", other) if isinstance(other, str) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        return True  # no content that a mould is filled with is empty

    def _same_stripped(self, chars: str | None = None) -> Looked:
        """Contents that a mould is filled with begin and end with letters; blanks are all that may be taken off."""
        if self.message is None or (chars is not None and not set(plain(chars)) <= set(string.whitespace)):
            raise Unfollowed("strip")
        return self

    strip = lstrip = rstrip = _same_stripped

    def split(self, sep: str | None = None, *at_most: Any) -> list[str]:
        return [self._unless("contains", sep)] if sep else self._never()

    rsplit = split  # type: ignore[assignment]

    def replace(self, old: str, *rest: Any) -> Looked:
        return self._unless("contains", old)

    def removeprefix(self, prefix: str, /) -> Looked:
        return self._unless("starts", prefix)

    def removesuffix(self, suffix: str, /) -> Looked:
        return self._unless("ends", suffix)

    def cut(self, start: int, stop: int) -> Traced:
        return self if (start, stop) == (0, str.__len__(self)) else self._never()

    def _never(self, *_: Any, **__: Any) -> Any:
        raise Unfollowed("an operation")

    __hash__ = __len__ = __iter__ = __getitem__ = _piece = __lt__ = __le__ = __gt__ = __ge__ = __mul__ = __rmul__ = (
        _never
    )
    find = rfind = index = rindex = count = partition = rpartition = splitlines = _same_length = _never
    upper = lower = title = capitalize = isalnum = isalpha = isascii = isdecimal = isdigit = _never
    isidentifier = islower = isnumeric = isprintable = isspace = istitle = isupper = _never
