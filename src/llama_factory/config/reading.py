"""A configuration file into entries that remember their lines.

Comes in: a path. Goes out: `Document`, the entries (key, value, place) in the order of the file and every
problem of the text itself. Values stay text: which number or word they are is decided by the key they belong
to, so YAML's own guesses (`no` is false, `1e-5` is a string, 1.10 is 1.1) never take part.

What it deliberately does not do: know a key; construct an object; follow a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

from llama_factory.config.values import Plain, is_null
from llama_factory.errors import InputError, LlamaFactoryError, SeveralErrors

LARGEST_FILE = 2**18
DEEPEST = 32
MOST_VALUES = 20_000
SUFFIXES = (".yaml", ".yml", ".json")


_LITERAL = re.compile(r"true|false|[-+]?[0-9.][0-9.eE+-]{0,40}")


@dataclass(frozen=True)
class Branch:
    """A mapping as it stood in a file, on the command line or in Python."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Entry:
    name: str
    value: Any
    where: str


@dataclass(frozen=True)
class Document:
    entries: tuple[Entry, ...]
    problems: tuple[LlamaFactoryError, ...]


def read_file(path: Path) -> Document:
    text = _text(path)
    builder = Builder(str(path))
    is_json = path.suffix.lower() == ".json"
    value = _JsonTree(text, str(path), builder).value() if is_json else builder.yaml(text)
    if is_null(value):
        return Document((), tuple(builder.problems))
    if not isinstance(value, Branch):
        raise InputError("config.not-mapping", where=path, found=shown(value))
    return Document(value.entries, tuple(builder.problems))


def shown(value: object) -> str:
    """A value as a letter shows it: short, and the same in every language."""
    if isinstance(value, Branch):
        return "{...}" if value.entries else "{}"
    if isinstance(value, (list, tuple)):
        return "[...]" if value else "[]"
    if value is None or (isinstance(value, Plain) and not value):
        return "null"
    if isinstance(value, Plain) and _LITERAL.fullmatch(value):
        return str(value)
    if isinstance(value, (bool, int, float, str)):
        try:
            text = repr(str.__str__(value)) if isinstance(value, str) else repr(value)
        except ValueError:  # an integer with thousands of digits
            return "int"
        return text if len(text) <= 60 else text[:57] + "..."
    return type(value).__name__


def printable(text: str) -> str:
    """A name from outside on one line of any terminal."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


# --- from disk ---------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("config.suffix", where=path, found=path.suffix or path.name)
    try:
        if not path.exists():
            raise _missing(path)
        if not path.is_file():
            raise InputError("config.not-a-file", where=path)
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError("config.unreadable", where=path, problem=problem) from error
    if len(data) > LARGEST_FILE:
        raise InputError("config.too-large", where=path, limit="256 KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"0x{data[error.start]:02x}"
        raise InputError("config.not-utf8", where=f"{path}:{line}", found=found) from error


def _missing(path: Path) -> InputError:
    try:
        names = [one.name for one in path.parent.iterdir() if one.suffix.lower() in SUFFIXES]
    except OSError:
        names = []
    near = get_close_matches(path.name, names, n=1, cutoff=0.5)
    if near:
        return InputError("config.no-file-near", where=path, nearest=str(path.with_name(near[0])))
    return InputError("config.no-file", where=path)


# --- YAML --------------------------------------------------------------------------------------------------

_KINDS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "value")
)
_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class Builder:
    """Nodes of a YAML parser, or events of the JSON reader, into entries; counts so that nothing explodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[LlamaFactoryError] = []
        self._values = 0

    def at(self, line: int) -> str:
        return f"{self.file}:{line}"

    def count(self, line: int, depth: int) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise InputError("config.too-large", where=self.at(line), limit=f"{MOST_VALUES} values")
        if depth > DEEPEST:
            raise InputError("config.too-deep", where=self.at(line), limit=DEEPEST)

    def branch(self, entries: Iterator[Entry] | list[Entry]) -> Branch:
        seen: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in seen:
                first = seen[entry.name].where
                self.problems.append(
                    InputError("config.duplicate-key", where=entry.where, key=printable(entry.name), first=first)
                )
            else:
                seen[entry.name] = entry
        return Branch(tuple(seen.values()))

    def yaml(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except MarkedYAMLError as error:
            raise self._broken(error) from error
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            found = f"U+{ord(text[error.position]):04X}" if error.position < len(text) else "?"
            raise InputError("config.yaml-broken", where=self.at(line), problem=found) from error
        except RecursionError as error:
            raise InputError("config.too-deep", where=self.file, limit=DEEPEST) from error
        return None if node is None else self._value(node, 0)

    def _broken(self, error: MarkedYAMLError) -> InputError:
        mark = error.problem_mark or error.context_mark
        where = self.at(mark.line + 1) if mark else self.file
        problem = error.problem or error.context or ""
        if "'\\t'" in problem:
            return InputError("config.yaml-tab", where=where)
        return InputError("config.yaml-broken", where=where, problem=problem)

    def _value(self, node: Node, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.count(line, depth)
        if node.tag not in (_KINDS if isinstance(node, ScalarNode) else _COLLECTIONS):
            raise InputError("config.yaml-tag", where=self.at(line), found=printable(node.tag))
        if isinstance(node, MappingNode):
            return self.branch([self._entry(key, value, depth) for key, value in node.value])
        if isinstance(node, ScalarNode):
            return node.value if node.style else Plain(node.value)
        return [self._value(item, depth + 1) for item in node.value]

    def _entry(self, key: Node, value: Node, depth: int) -> Entry:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise InputError("config.not-a-key", where=self.at(line), found="[...]")
        return Entry(str(key.value), self._value(value, depth + 1), self.at(line))


# --- JSON --------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([{}\[\]:,])|([^\s{}\[\]:,"]+))')


class _JsonTree:
    """The standard library says whether the text is JSON; a second walk over its tokens finds the lines."""

    def __init__(self, text: str, file: str, builder: Builder) -> None:
        self._builder = builder
        self._line = self._next_line = 1
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError("config.json-broken", where=f"{file}:{error.lineno}", problem=error.msg) from error
        except RecursionError as error:
            raise InputError("config.too-deep", where=file, limit=DEEPEST) from error
        except ValueError:  # a number with thousands of digits; its key will refuse it
            pass
        self._tokens = self._walk(text)
        self._next = next(self._tokens)

    def value(self, depth: int = 0) -> Any:
        word = self._take()
        self._builder.count(self._line, depth)
        if word == "{":
            return self._builder.branch(list(self._entries(depth)))
        if word == "[":
            return list(self._items(depth))
        return json.loads(word) if word[0] == '"' else _bare(word)

    def _entries(self, depth: int) -> Iterator[Entry]:
        while self._next != "}":
            name = json.loads(self._take())
            where = self._builder.at(self._line)
            self._take()
            yield Entry(name, self.value(depth + 1), where)
            if self._next == ",":
                self._take()
        self._take()

    def _items(self, depth: int) -> Iterator[Any]:
        while self._next != "]":
            yield self.value(depth + 1)
            if self._next == ",":
                self._take()
        self._take()

    def _take(self) -> str:
        word, self._line = self._next, self._next_line
        self._next = next(self._tokens, "")
        return word

    def _walk(self, text: str) -> Iterator[str]:
        position, line = 0, 1
        while found := _TOKEN.match(text, position):
            start = found.start(found.lastindex or 0)
            line += text.count("\n", position, start)
            self._next_line = line
            position = start
            yield found.group(found.lastindex or 0)
            line += text.count("\n", position, found.end())
            position = found.end()


def _bare(word: str) -> Any:
    literals: dict[str, Any] = {"true": True, "false": False, "null": None}
    return literals[word] if word in literals else Plain(word)


def raise_all(problems: list[LlamaFactoryError]) -> None:
    """One problem as itself, several as one error that says them all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SeveralErrors(problems)
