"""Words of the commands that are not all configuration: `IN OUT --drop REGEX to=openai --overwrite`.

In: words, and the table of a command's options. Out: their values by name, and the words that are left, in order.
An option is spelled `--name value`, `--name=value` or `name=value`, with dashes or underscores; what is given twice,
stands without its value or cannot be read is refused with what was expected. Nothing is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_factory.errors import InputError, nearest


@dataclass(frozen=True)
class Option:
    """expects: what a value is called in a letter; nothing for a flag, two words for two values.

    read: turns each value's text into what is used; raises ValueError. many: may be given again and again.
    alone: the value of an option that may stand without one.
    """

    expects: tuple[str, ...] = ()
    read: Callable[[str], Any] = str
    many: bool = False
    alone: Any = None


FLAG = Option()


@dataclass(frozen=True)
class Given:
    values: Mapping[str, Any]
    rest: tuple[str, ...]

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def all(self, name: str) -> tuple[Any, ...]:
        found = self.values.get(name, [])
        return tuple(found)

    def has(self, name: str) -> bool:
        return name in self.values


def take(command: str, words: Sequence[str], options: Mapping[str, Option], *, others: bool = False) -> Given:
    """others: words that look like options and are not in the table are left to whoever reads `rest`."""
    left = deque(words)
    values: dict[str, Any] = {}
    rest: list[str] = []
    while left:
        word = left.popleft()
        dashed = word.startswith("--")
        head, equals, text = word.removeprefix("--").partition("=")
        name = head.replace("_", "-")
        option = options.get(name) if dashed or equals else None
        if option is None:
            if dashed and not others:
                known = " ".join(f"--{name}" for name in options)
                raise InputError("apps.option-unknown", found=word, known=known, near=nearest(name, options))
            rest.append(word)
            continue
        value = _value(command, name, option, [text] if equals else None, left)
        if option.many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InputError("apps.option-twice", option=name)
        else:
            values[name] = value
    return Given(values, tuple(rest))


def _value(command: str, name: str, option: Option, texts: list[str] | None, left: deque[str]) -> Any:
    if not option.expects:
        if texts is not None and texts[0].lower() not in ("true", "1", "yes"):
            raise InputError("apps.option-value", option=name, expected="-", found=texts[0], command=command)
        return True
    if texts is None and option.alone is not None and not (left and _reads(option, left[0])):
        return option.alone
    texts = texts or []
    while len(texts) < len(option.expects) and left:
        texts.append(left.popleft())
    expected = " ".join(option.expects)
    if len(texts) < len(option.expects):
        raise InputError("apps.option-value", option=name, expected=expected, found=" ".join(texts), command=command)
    try:
        values = [option.read(text) for text in texts]
    except ValueError:
        found = " ".join(texts)
        raise InputError("apps.option-value", option=name, expected=expected, found=found, command=command) from None
    return values[0] if len(values) == 1 else tuple(values)


def _reads(option: Option, text: str) -> bool:
    try:
        option.read(text)
    except ValueError:
        return False
    return True


def whole(text: str) -> int:
    """A count, at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def share(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise ValueError(text)
    return number


def listed(text: str) -> tuple[str, ...]:
    """`a,b,c` or `[a, b]`."""
    found = tuple(part.strip() for part in text.strip("[] ").split(",") if part.strip())
    if not found:
        raise ValueError(text)
    return found


def one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in known:
            raise ValueError(text)
        return word

    return read
