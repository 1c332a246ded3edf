"""The letters and the code that sends them, held together by reading the source.

A letter nobody sends is dead text; an id without a letter would be a crash in front of the user. Ids are
found as string literals of the form `room.what-it-is`, wherever they stand: in a raise, a Finding or a table.
"""

from __future__ import annotations

import ast
import importlib
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llama_factory import errors
from llama_factory.errors.letters import LETTERS

SOURCE = Path(errors.__file__).parents[1]
TABLES = {
    name: table
    for name in sorted(path.stem for path in (SOURCE / "errors" / "letters").glob("[a-z]*.py"))
    if (table := getattr(importlib.import_module(f"llama_factory.errors.letters.{name}"), "LETTERS", None)) is not None
}
ID = re.compile(rf"({'|'.join(TABLES)})\.(?!json$|yaml$|py$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
ERRORS = {
    name
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), errors.LlamaFactoryError)
}


@dataclass(frozen=True)
class Site:
    """One place in the code that sends a letter with an id that can be read there."""

    place: str
    id: str
    given: frozenset[str] | None  # None: the values are not all visible at this place


def code() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        if path.parent.name != "letters":
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def mentioned() -> set[str]:
    """Every id that stands in the code as a literal."""
    words = (node.value for _, tree in code() for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {word for word in words if isinstance(word, str) and ID.fullmatch(word)}


def beginnings() -> set[str]:
    """Ids that are put together where they are sent, f"config.planned-{what}": the part that is always the same."""
    texts = (node.values[0] for _, tree in code() for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))
    words = (str(part.value) for part in texts if isinstance(part, ast.Constant))
    return {word for word in words if re.fullmatch(rf"({'|'.join(TABLES)})\.[a-z-]{{4,}}", word)}


def sites() -> list[Site]:
    found = []
    for path, tree in code():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in ERRORS | {"Finding"} or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            place = f"{path.relative_to(SOURCE)}:{node.lineno}"
            found.append(Site(place, str(node.args[0].value), values_of(node, name)))
    return found


def values_of(call: ast.Call, name: str) -> frozenset[str] | None:
    """The names of the values that this call gives to its letter, when they can all be seen."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in keywords:
        return None
    if name != "Finding":
        return frozenset(key for key in keywords if key and key != "where")
    values = keywords.get("values", call.args[3] if len(call.args) > 3 else ast.Dict(keys=[], values=[]))
    if not isinstance(values, ast.Dict) or not all(isinstance(key, ast.Constant) for key in values.keys):
        return None
    return frozenset(str(key.value) for key in values.keys if isinstance(key, ast.Constant))


def placeholders(*texts: str) -> set[str]:
    names = (field for text in texts for _, field, _, _ in string.Formatter().parse(text) if field)
    return {re.split(r"[.\[]", name)[0] for name in names}


def test_every_id_that_the_code_names_has_a_letter() -> None:
    ids = mentioned() | {site.id for site in sites()}
    assert len(ids) > 50
    assert not sorted(ids - set(LETTERS))


def test_every_letter_is_sent_by_the_code() -> None:
    families = tuple(beginnings())
    assert not sorted(id for id in set(LETTERS) - mentioned() if not id.startswith(families))


@pytest.mark.parametrize("id", sorted(LETTERS))
def test_a_letter_says_the_same_in_both_languages(id: str) -> None:
    words = LETTERS[id]
    assert all(text.strip() for text in words)
    assert placeholders(words.en, words.en_cure) == placeholders(words.zh, words.zh_cure)
    assert re.search(r"[\u4e00-\u9fff]", words.zh)
    assert re.search(r"[\u4e00-\u9fff]", words.zh_cure) or words.zh_cure == words.en_cure  # a bare command line
    assert not re.search(r"[\u4e00-\u9fff]", words.en + words.en_cure)


def test_every_place_that_sends_a_letter_gives_the_values_that_it_needs() -> None:
    seen = [site for site in sites() if site.given is not None and site.id in LETTERS]
    assert len(seen) > 50
    wrong = [
        f"{site.place} {site.id}: needs {sorted(needs)}, gives {sorted(site.given)}"
        for site in seen
        if site.given is not None and not (needs := placeholders(*LETTERS[site.id])) <= site.given
    ]
    assert not wrong, "\n".join(wrong)


def test_no_letter_stands_in_two_tables() -> None:
    rooms = {path.name.removesuffix(".py") for path in SOURCE.iterdir()}
    assert sum(len(table) for table in TABLES.values()) == len(LETTERS)
    assert {id.split(".")[0] for id in LETTERS} <= rooms
