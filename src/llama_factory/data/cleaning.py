"""What may be wrong with the texts of a row, one rule at a time: changes that mend, tests that drop.

In: a row as it stands in its file, and `Rules`. Out: the row after the changes, and the first rule that drops it, with
the reason. A row's texts are all its strings but for names of roles, ids and JSON inside strings (`SILENT`). Only
digests of earlier rows are held. It deliberately knows no file and writes nothing; nothing is dropped unasked.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import regex

from llama_factory.data.words import short
from llama_factory.errors import InputError, MachineError

SILENT = frozenset(
    ("role", "from", "type", "id", "name", "tool_call_id", "tools", "functions", "arguments", "weight", "label")
)  # fmt: skip
"""Keys whose strings are no text of a person: what they hold must stay as it is."""

NAMES_OF_ROWS = frozenset(("id", "idx", "index", "uuid", "row_id", "__index_level_0__"))
"""Keys that number a row: two rows that differ in these alone are copies."""

PATIENCE_S = 2.0
"""For one expression on one text. One that needs longer would need years on another row."""

SHINGLE = 5
"""Signs of the overlapping pieces by which texts are compared: as good for Chinese as for English."""

PERMUTATIONS = 128
"""Of a MinHash: 512 bytes a row, and a similarity that is right to about 0.04."""

TELLING = 20
"""Letters below which nobody can tell a language."""

TELLING_ENOUGH = 1_000
"""Signs by which a language is told: more take longer and change nothing."""

BLANKS = regex.compile(r"[^\S\n]+(?=\n|$)")
EMPTY_LINES = regex.compile(r"\n{4,}")

Row = Mapping[str, Any]


class Dropped(NamedTuple):
    """rule: its name on the command line; why: what of the row it met, in no language; like: the row it repeats."""

    rule: str
    why: str = ""
    like: str = ""


@dataclass(frozen=True)
class Rules:
    """What was asked for. Lengths are (least, most), each None where nothing was asked.

    count_tokens, language_of: passed in, because they need a tokenizer and a library.
    """

    drop: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    whitespace: bool = False
    unicode: Literal["nfc", "nfkc"] | None = None
    duplicates: bool = False
    near: float | None = None
    characters: tuple[int | None, int | None] = (None, None)
    words: tuple[int | None, int | None] = (None, None)
    tokens: tuple[int | None, int | None] = (None, None)
    languages: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    count_tokens: Callable[[str], int] | None = None
    language_of: Callable[[str], str] | None = None

    @property
    def mends(self) -> bool:
        return bool(self.replace or self.whitespace or self.unicode)

    @property
    def drops(self) -> bool:
        lengths = (*self.characters, *self.words, *self.tokens)
        asked = (self.drop, self.duplicates, self.near, self.languages)
        return any(asked) or any(one is not None for one in lengths)


# --- texts of a row -------------------------------------------------------------------------------------------


def texts(row: Row, fields: Sequence[str] = ()) -> Iterator[str]:
    """Every text of the row, in order; `fields`: of these columns alone."""
    found: list[str] = []
    _mapped(row, lambda text: found.append(text) or text, fields)  # type: ignore[func-returns-value]
    return iter(found)


def _mapped(row: Row, change: Callable[[str], str], fields: Sequence[str]) -> Row:
    return {
        key: _value(value, change) if (key in fields if fields else key not in SILENT) else value
        for key, value in row.items()
    }


def _value(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_value(one, change) for one in value]
    if isinstance(value, dict):
        return {key: one if key in SILENT else _value(one, change) for key, one in value.items()}
    return value


# --- changes --------------------------------------------------------------------------------------------------


class Mender:
    """The changes, in the order: replace, unicode, whitespace."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._steps: list[tuple[str, Callable[[str, object], str]]] = []
        for pattern, by in rules.replace:
            self._steps.append(("replace", _replacer(pattern, by)))
        if rules.unicode:
            form: Literal["NFC", "NFKC"] = "NFC" if rules.unicode == "nfc" else "NFKC"
            self._steps.append(("unicode", lambda text, where: unicodedata.normalize(form, text)))
        if rules.whitespace:
            self._steps.append(("whitespace", lambda text, where: tidy(text)))

    def mend(self, row: Row, where: object) -> tuple[Row, tuple[str, ...]]:
        """The row after the changes, and the names of those that changed anything."""
        done: list[str] = []
        for name, step in self._steps:
            changed = _mapped(row, lambda text, step=step: step(text, where), self._rules.fields)  # type: ignore[misc]
            if changed != row:
                done.append(name)
                row = changed
        return row, tuple(dict.fromkeys(done))


def tidy(text: str) -> str:
    r"""`\r\n` and `\r` to `\n`, no byte order mark, no blanks at ends of lines, two empty lines at most, none around.

    What stands at the beginning of a line stays: in code it means something.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    return str(EMPTY_LINES.sub("\n\n\n", BLANKS.sub("", text))).strip("\n").rstrip()


def _replacer(pattern: str, by: str) -> Callable[[str, object], str]:
    compiled = expression(pattern)

    def replaced(text: str, where: object) -> str:
        try:
            return str(compiled.sub(by, text, timeout=PATIENCE_S))
        except TimeoutError:
            raise InputError("apps.clean-slow", where=where, pattern=short(pattern), limit=PATIENCE_S) from None
        except (regex.error, IndexError) as problem:
            raise InputError("apps.clean-expression", pattern=short(by), reason=str(problem)) from None

    return replaced


def expression(pattern: str) -> Any:
    """An expression of the user's, compiled. Raises InputError `apps.clean-expression`."""
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as problem:
        raise InputError("apps.clean-expression", pattern=short(pattern), reason=str(problem)) from None


# --- tests ----------------------------------------------------------------------------------------------------


class Judge:
    """Which rule drops a row, if any: asked once for each row, in the order of the file."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._drop = [(pattern, expression(pattern)) for pattern in rules.drop]
        self._copies = Copies()
        self._foreign = Copies()
        self._near = Near(rules.near) if rules.near is not None else None
        self._compares = False

    def forbid(self, rows: Iterable[tuple[object, Row]]) -> None:
        """Rows that must not come again: the validation data."""
        self._compares = True
        for origin, row in rows:
            self._foreign.seen(letters_of(row), str(origin))
            if self._near:
                self._near.add(joined(texts(row)), f"={origin}")

    def judge(self, row: Row, where: object) -> Dropped | None:
        """A row that is kept is remembered, for the copies of it that may come."""
        found = self._by_content(row, where)
        if found is None and self._compares and (like := self._foreign.like(letters_of(row))):
            found = Dropped("against", like=like)
        if found is None and self._rules.duplicates and (like := self._copies.seen(canonical(row), str(where))):
            found = Dropped("duplicates", like=like)
        if found is None and self._near and (met := self._near.like_or_add(joined(texts(row)), str(where))):
            found = Dropped("against" if met.startswith("=") else "near-duplicates", like=met.removeprefix("="))
        return found

    def _by_content(self, row: Row, where: object) -> Dropped | None:
        rules = self._rules
        own = list(texts(row, rules.fields))
        for pattern, compiled in self._drop:
            for text in own:
                if hit := _search(compiled, text, pattern, where):
                    return Dropped("drop", f"{short(pattern)}: {short(hit)}")
        text = joined(own)
        counters: tuple[tuple[str, tuple[int | None, int | None], Callable[[str], int] | None], ...] = (
            ("characters", rules.characters, len),
            ("words", rules.words, words),
            ("tokens", rules.tokens, rules.count_tokens),
        )
        for name, (least, most), count in counters:
            if count is not None and (least is not None or most is not None):
                found = count(text)
                if least is not None and found < least:
                    return Dropped(f"min-{name}", f"{found} < {least}")
                if most is not None and found > most:
                    return Dropped(f"max-{name}", f"{found} > {most}")
        if rules.languages and rules.language_of and tells(text):
            language = rules.language_of(text)
            if language not in rules.languages:
                return Dropped("language", language)
        return None


def _search(compiled: Any, text: str, pattern: str, where: object) -> str:
    try:
        hit = compiled.search(text, timeout=PATIENCE_S)
    except TimeoutError:
        raise InputError("apps.clean-slow", where=where, pattern=short(pattern), limit=PATIENCE_S) from None
    return (str(hit.group()) or " ") if hit else ""


def joined(found: Iterable[str]) -> str:
    return "\n".join(found)


def words(text: str) -> int:
    """Words between spaces; each Chinese or Japanese sign is one, because no spaces stand between them."""
    wide = sum("\u3040" <= sign <= "\u30ff" or "\u3400" <= sign <= "\u9fff" for sign in text)
    apart = regex.sub(r"[\u3040-\u30ff\u3400-\u9fff]", " ", text) if wide else text
    return wide + len(apart.split())


def tells(text: str) -> bool:
    """Enough letters to tell a language by; a Chinese sign tells as much as several."""
    return sum(4 if sign >= "\u2e80" else 1 for sign in text if sign.isalpha()) >= TELLING


# --- copies ---------------------------------------------------------------------------------------------------


@dataclass
class Copies:
    """The first place of every digest."""

    _first: dict[bytes, str] = field(default_factory=dict)

    def seen(self, content: str, where: str) -> str:
        """The place of an earlier one, or nothing: then this is the first."""
        first = self._first.setdefault(_digest(content), where)
        return "" if first == where else first

    def like(self, content: str) -> str:
        return self._first.get(_digest(content), "")


def _digest(content: str) -> bytes:
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def canonical(row: Row) -> str:
    """Equal for rows that are equal but for their numbers and the order of their keys."""
    return json.dumps({key: row[key] for key in sorted(row) if key not in NAMES_OF_ROWS}, sort_keys=True)


def letters_of(row: Row) -> str:
    """The texts alone, without case and white space: the same row in another form or file is found."""
    return " ".join(joined(texts(row)).casefold().split())


class Near:
    """Texts that share most of their pieces, by MinHash."""

    def __init__(self, threshold: float) -> None:
        try:
            import rensa
        except ImportError:
            raise MachineError("apps.clean-library", library="rensa", needed_for="--near-duplicates") from None
        self._make = rensa.RMinHash
        self._index = rensa.RMinHashDeduplicator(threshold, PERMUTATIONS, True)

    def add(self, text: str, where: str) -> None:
        self._index.add(where, self._sketch(text))

    def like_or_add(self, text: str, where: str) -> str:
        """The place of an earlier text that is nearly this one, or nothing: then this one is remembered."""
        sketch = self._sketch(text)
        found = self._index.get_duplicates(sketch)
        if found:
            return str(min(found, key=_place))
        self._index.add(where, sketch)
        return ""

    def _sketch(self, text: str) -> Any:
        text = " ".join(text.casefold().split())
        sketch = self._make(PERMUTATIONS, 42)
        sketch.update(list({text[at : at + SHINGLE] for at in range(max(1, len(text) - SHINGLE + 1))}))
        return sketch


def _place(where: str) -> tuple[str, int]:
    file, _, row = where.rpartition(":")
    return file, int(row) if row.isdigit() else 0


def language_teller() -> Callable[[str], str]:
    """The language of a text by its ISO code. The model lies in the library: nothing is fetched."""
    try:
        import py3langid
    except ImportError:
        raise MachineError("apps.clean-library", library="py3langid", needed_for="--language") from None
    return lambda text: str(py3langid.classify(text[:TELLING_ENOUGH])[0])
