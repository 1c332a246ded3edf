"""Entries of a file, of a command line or of a Python mapping into one `Run`.

Three steps. `Layer` resolves names: every spelling claims its one key, and two claims of one layer conflict.
`_merged` lays the command line over the file. `_judged` reads the values, and gathers all problems before
anything is raised.

What it deliberately does not do: know what any key means. Names come from `vocabulary`, values from the sections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llama_factory.config.keys import Leaf, Section, leaves
from llama_factory.config.reading import DEEPEST, Branch, Document, Entry, printable, raise_all, read_file, shown
from llama_factory.config.run import Given, Run
from llama_factory.config.values import (
    Choice,
    Names,
    NotBuiltError,
    Plain,
    RefusedError,
    UnreadableError,
    as_bool,
    as_number,
    is_null,
)
from llama_factory.config.vocabulary import (
    ALIASES,
    FEATURE_OF,
    GROUPS,
    IMPLIED,
    NEVER,
    PRECISIONS,
    REASON_OF,
    TRANSLATED,
    asks_for_nothing,
)
from llama_factory.config.words import read_words
from llama_factory.errors import InputError, LlamaFactoryError, SeveralErrors
from llama_factory.records import Finding


def load(file: Path | None, words: Sequence[str] = ()) -> Run:
    """A file, and words that go over it. Every problem of both is in the error."""
    below = Document((), ()) if file is None else read_file(Path(file))
    above = read_words(words, leaf_of, is_known)
    return _run([Layer(below), Layer(above, last_wins=True)], "" if file is None else str(file))


def from_mapping(mapping: Mapping[str, Any], where: str) -> Run:
    """Keys and values of a Python caller; `where` is what the letters call the place."""
    return _run([Layer(Document(_branch(mapping, where, 0).entries, ()))], where)


def leaf_of(name: str) -> Leaf | None:
    """The built key that a name stands for."""
    return leaves(Run).get(ALIASES.get(name, name))


def is_known(name: str) -> bool:
    return leaf_of(name) is not None or name in known_names()


def known_names() -> tuple[str, ...]:
    """Every name that may stand in a file, the built keys first."""
    return (*leaves(Run), *ALIASES, *TRANSLATED, *FEATURE_OF, *REASON_OF, *GROUPS, *section_names())


@cache
def section_names() -> tuple[str, ...]:
    return _below(Run)


def _below(section: Any) -> tuple[str, ...]:
    inner = [(name, info.annotation) for name, info in section.model_fields.items()]
    found = [(name, kind) for name, kind in inner if isinstance(kind, type) and issubclass(kind, Section)]
    return tuple(name for one, kind in found for name in (one, *_below(kind)))


def _branch(mapping: Mapping[Any, Any], where: str, depth: int) -> Branch:
    if depth > DEEPEST:
        raise InputError("config.too-deep", where=where, limit=DEEPEST)
    entries = []
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise InputError("config.not-a-key", where=where, found=shown(name))
        inner = _branch(value, where, depth + 1) if isinstance(value, Mapping) else value
        entries.append(Entry(name, inner, where))
    return Branch(tuple(entries))


# --- names -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """`spelled`, standing at `where`, gives `key` a value. `said` is what was written, for a letter."""

    key: str
    spelled: str
    value: Any
    said: Any
    where: str


class Layer:
    """The claims of one source. In a file a key has one line; among words the last of one spelling wins."""

    def __init__(self, document: Document, *, last_wins: bool = False) -> None:
        self.claims: dict[str, Claim] = {}
        self.problems: list[LlamaFactoryError] = list(document.problems)
        self._last_wins = last_wins
        for entry in document.entries:
            self._add(entry, entry.name)

    def _add(self, entry: Entry, spelled: str) -> None:
        name, value = entry.name, entry.value
        if isinstance(value, Branch) and name in PRECISIONS:
            self._precision(entry)
        elif name in GROUPS or (name in section_names() and (isinstance(value, Branch) or name not in ALIASES)):
            self._group(entry)
        elif name in TRANSLATED:
            self._translate(entry, spelled)
        elif (key := ALIASES.get(name, name)) in leaves(Run) or key in FEATURE_OF or key in REASON_OF:
            self._claim(Claim(key, spelled, value, value, entry.where))
        else:
            self.problems.append(unknown(spelled, entry.where))

    def _group(self, entry: Entry) -> None:
        if isinstance(entry.value, Branch):
            for inner in entry.value.entries:
                self._add(inner, inner.name)
        elif not is_null(entry.value):
            self.problems.append(_wrong(entry.name, "{key: value, ...}", entry.value, entry.where))

    def _precision(self, entry: Entry) -> None:
        for inner in entry.value.entries:
            spelled = f"{entry.name}.{inner.name}"
            if inner.name == "enabled":
                value = Plain("null") if str(inner.value).lower() == "auto" else inner.value
                self._claim(Claim(entry.name, entry.name, value, inner.value, inner.where))
            elif inner.name in REASON_OF:
                self._add(inner, spelled)
            else:
                self.problems.append(unknown(spelled, inner.where))

    def _translate(self, entry: Entry, spelled: str) -> None:
        if is_null(entry.value):
            return
        expected, translate = TRANSLATED[entry.name]
        try:
            meant = translate(entry.value)
        except UnreadableError:
            self.problems.append(_wrong(spelled, expected, entry.value, entry.where))
            return
        for key, value in meant.items():
            self._claim(Claim(key, spelled, value, entry.value, entry.where))

    def _claim(self, claim: Claim) -> None:
        other = self.claims.get(claim.key)
        if other is not None and other.spelled != claim.spelled:
            values = {"key": claim.key, "first": other.spelled, "second": claim.spelled, "other": other.where}
            self.problems.append(InputError("config.two-spellings", where=claim.where, **values))
        elif other is not None and not self._last_wins:
            values = {"key": claim.spelled, "first": other.where}
            self.problems.append(InputError("config.duplicate-key", where=claim.where, **values))
        else:
            self.claims[claim.key] = claim


def unknown(name: str, where: str) -> InputError:
    near = get_close_matches(name.rpartition(".")[2], known_names(), n=1, cutoff=0.6)
    if near:
        return InputError("config.unknown-key-near", where=where, key=printable(name), nearest=near[0])
    return InputError("config.unknown-key", where=where, key=printable(name))


# --- values ------------------------------------------------------------------------------------------------


def _run(layers: Iterable[Layer], source: str) -> Run:
    claims: dict[str, Claim] = {}
    problems: list[LlamaFactoryError] = []
    for layer in layers:
        claims.update(layer.claims)
        problems.extend(layer.problems)
    notices = [notice for claim in claims.values() for notice in _notices(claim)]
    claims = _with_implied(claims, problems)
    problems.extend(problem for claim in claims.values() for problem in _refusals(claim))
    built = {key: claim for key, claim in claims.items() if key in leaves(Run)}
    places = {key: claim.where for key, claim in built.items()}
    run = _validated(built, Given(source, places, tuple(notices)), problems)
    if run is None or problems:
        raise_all(sorted(problems, key=_line))
    assert run is not None  # noqa: S101
    return run


def _with_implied(claims: Mapping[str, Claim], problems: list[LlamaFactoryError]) -> dict[str, Claim]:
    """A word that stands for a plainer one and a value of another key, unless that key says something itself.

    What it says must not be that the word means nothing (`use_dora: false`).
    """
    full = dict(claims)
    for claim in claims.values():
        plainer, more = _implied(claim)
        if plainer:
            full[claim.key] = replace(claim, value=plainer)
        for key, value in more.items():
            other = claims.get(key)
            if other is None or is_null(other.value):
                full[key] = replace(claim, key=key, value=value)
            elif value is True and _meaning(other.value) is False:
                values = {"key": key, "first": claim.spelled, "second": other.spelled, "other": claim.where}
                problems.append(InputError("config.two-spellings", where=other.where, **values))
    return full


def _implied(claim: Claim) -> tuple[str, Mapping[str, Any]]:
    word = str(claim.value).strip().lower() if isinstance(claim.value, str) else ""
    return IMPLIED.get((claim.key, word), ("", {}))


def _validated(built: Mapping[str, Claim], given: Given, problems: list[LlamaFactoryError]) -> Run | None:
    """The run, or None and its problems. Keys that cannot be read are left out so that the rest is still checked."""
    broken: set[str] = set()
    while True:
        nested = _nested({key: claim.value for key, claim in built.items() if key not in broken})
        context = Given(given.source, given.places, given.notices, frozenset(broken))
        try:
            return Run.model_validate(nested, context=context)
        except ValidationError as error:
            found = {str(one["loc"][-1]): one.get("ctx", {}).get("error") for one in error.errors()}
            problems.extend(_unread(built[key], cause) for key, cause in found.items())
            broken.update(found)
        except SeveralErrors as error:
            problems.extend(error.errors)
            return None
        except InputError as error:
            problems.append(error)
            return None


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        place = nested
        for part in leaves(Run)[key].path:
            place = place.setdefault(part, {})
        place[key] = value
    return nested


def _unread(claim: Claim, cause: object) -> InputError:
    leaf = leaves(Run)[claim.key]
    if isinstance(cause, RefusedError):
        values = {"key": claim.spelled, "found": printable(str(cause)), "expected": leaf.reader.text}
        return InputError(cause.id, where=claim.where, **values)
    if isinstance(cause, NotBuiltError):
        values = {"key": claim.spelled, "found": printable(str(cause)), "expected": leaf.reader.text}
        return InputError("config.planned-value", where=claim.where, **values)
    found = "***" if leaf.about.secret else claim.said
    words = leaf.reader.words if isinstance(leaf.reader, (Choice, Names)) else ()
    return _wrong(claim.spelled, leaf.reader.text, found, claim.where, words)


def _wrong(key: str, expected: str, found: object, where: str, words: Sequence[str] = ()) -> InputError:
    values = {"key": key, "expected": f"`{expected}`", "found": shown(found)}
    near = get_close_matches(found.lower(), words, n=1, cutoff=0.6) if isinstance(found, str) else []
    if near:
        return InputError("config.wrong-value-near", where=where, nearest=near[0], **values)
    return InputError("config.wrong-value", where=where, **values)


def _refusals(claim: Claim) -> list[LlamaFactoryError]:
    meant = _meaning(claim.value)
    if claim.key in FEATURE_OF and not asks_for_nothing(claim.key, meant):
        return [InputError(FEATURE_OF[claim.key], where=claim.where, key=claim.spelled)]
    if claim.key in NEVER and meant in NEVER[claim.key]:
        return [InputError("config.no-pickle", where=claim.where, key=claim.key, found=shown(claim.said))]
    return []


def _notices(claim: Claim) -> list[Finding]:
    if claim.key in REASON_OF:
        idle = Finding(REASON_OF[claim.key], "note", claim.where, {"key": claim.spelled})
        return [] if is_null(claim.value) else [idle]
    plainer, more = _implied(claim)
    if plainer:
        meant = ", ".join(f"{key}: {_word(value)}" for key, value in ((claim.key, plainer), *more.items()))
        return [
            Finding(
                "config.alias", "note", claim.where, {"found": f"{claim.spelled}: {_word(claim.said)}", "key": meant}
            )
        ]
    if claim.spelled in ALIASES:
        return [Finding("config.alias", "note", claim.where, {"found": claim.spelled, "key": claim.key})]
    if claim.spelled in TRANSLATED or (claim.spelled in leaves(Run) and claim.spelled != claim.key):
        values = {"found": f"{claim.spelled}: {_word(claim.said)}", "key": f"{claim.key}: {_word(claim.value)}"}
        return [Finding("config.alias", "note", claim.where, values)]
    return []


def _meaning(value: Any) -> Any:
    """What text without a key to read it would mean."""
    if is_null(value):
        return None
    if isinstance(value, Branch):
        return value.entries
    if not isinstance(value, Plain):
        return value
    for read in (as_number, as_bool):
        try:
            return read(value)
        except UnreadableError:
            continue
    return str(value)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def _line(problem: LlamaFactoryError) -> int:
    number = problem.where.partition(", ")[0].rpartition(":")[2]
    return int(number) if number.isdecimal() else 0
