"""The words of a command line into entries: `key=value`, `--key value`, `--key=value`, `--flag`, `a.b=c`.

Comes in: the words after the command and its file. Goes out: the same `Document` that a file gives, each
entry placed at the word it came from.
What it deliberately does not do: read a value. It only has to know which keys are flags, because
`--do_train` may stand alone, and which are lists, because `--lora_target q_proj v_proj` goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from llama_factory.config.keys import Leaf
from llama_factory.config.reading import Branch, Builder, Document, Entry, printable
from llama_factory.config.values import Flag, Names, PathOrFlag, Plain, Text, UnreadableError, as_bool
from llama_factory.errors import InputError, LlamaFactoryError

LONGEST_PLACE = 48


def read_words(words: Sequence[str], leaf_of: Callable[[str], Leaf | None], known: Callable[[str], bool]) -> Document:
    return _Words(words, leaf_of, known).document()


class _Words:
    def __init__(
        self, words: Sequence[str], leaf_of: Callable[[str], Leaf | None], known: Callable[[str], bool]
    ) -> None:
        # A backslash that was meant to go on with the next line leaves a blank before the next word.
        self._left = deque(word.lstrip() if word.lstrip().startswith("--") else word for word in words)
        self._leaf_of = leaf_of
        self._known = known
        self._entries: list[Entry] = []
        self._problems: list[LlamaFactoryError] = []

    def document(self) -> Document:
        while self._left:
            try:
                self._one(self._left.popleft())
            except LlamaFactoryError as problem:
                self._problems.append(problem)
        return Document(tuple(self._entries), tuple(self._problems))

    def _one(self, word: str) -> None:
        if word.strip() in ("", "\\"):
            return
        head, equals, text = word.removeprefix("--").partition("=")
        name = head.strip().replace("-", "_")
        if not name or not (equals or word.startswith("--")):
            raise InputError("config.word", found=_short(word))
        leaf = self._leaf_of(name)
        value = _value(text, leaf, word) if equals else self._following(name, leaf)
        self._add(name, value, _place(word, value, leaf))

    def _following(self, name: str, leaf: Leaf | None) -> Any:
        """The value of `--name`: the next word, all next words of a list, or `true` for a flag that stands alone."""
        reader = leaf.reader if leaf else None
        if not self._more():
            if leaf is None or isinstance(reader, (Flag, PathOrFlag)):
                return Plain("true")
            raise InputError("config.word-without-value", where=f"--{name}", key=name, expected=leaf.reader.text)
        if isinstance(reader, Flag):
            return Plain(self._left.popleft()) if _is_bool(self._left[0]) else Plain("true")
        if self._starts_another() and (leaf is None or isinstance(reader, PathOrFlag)):
            return Plain("true")
        first = self._left.popleft()
        if not isinstance(reader, Names):
            return _value(first, leaf, first)
        rest = []
        while self._more() and not self._starts_another():
            rest.append(self._left.popleft())
        return [first, *rest] if rest else _value(first, leaf, first)

    def _more(self) -> bool:
        return bool(self._left) and not self._left[0].startswith("--")

    def _starts_another(self) -> bool:
        name, equals, _ = self._left[0].partition("=")
        return bool(equals) and self._known(name.replace("-", "_").split(".")[0])

    def _add(self, name: str, value: Any, where: str) -> None:
        first, *rest = name.split(".")
        for part in reversed(rest):
            value = Branch((Entry(part, value, where),))
        self._entries.append(Entry(first, value, where))


def _value(text: str, leaf: Leaf | None, word: str) -> Any:
    """A list or a mapping in brackets is YAML; everything else stays text for its key to read."""
    if not text.strip() and leaf is not None and type(leaf.reader) is Text:
        return text
    if text[:1] in ("[", "{") and (leaf is None or isinstance(leaf.reader, Names)):
        return Builder(_short(word)).yaml(text)
    return Plain(text)


def _is_bool(word: str) -> bool:
    try:
        as_bool(word)
    except UnreadableError:
        return False
    return True


def _place(word: str, value: Any, leaf: Leaf | None) -> str:
    """The word as it was typed, or only its key where the value may be a secret."""
    name, equals, _ = word.partition("=")
    if leaf is None or leaf.about.secret:
        return _short(name)
    return _short(word if equals or not isinstance(value, str) else f"{word} {value}")


def _short(word: str) -> str:
    word = printable(word)
    return word if len(word) <= LONGEST_PLACE else word[: LONGEST_PLACE - 3] + "..."
