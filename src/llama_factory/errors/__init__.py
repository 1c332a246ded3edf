"""What can go wrong, as values: an id, where, the facts, and a letter in two languages.

    LlamaFactoryError
    |- InputError        2   the configuration, the command line, a file that the user named
    |- DataError         3   a row, a data set, a registry entry
    |- MachineError      4   memory, disk, a lock, a missing library
    |- DivergedError     5   the loss or a gradient is not a finite number
    |- ProofError        6   what was written is not what was trained
    |- Interrupted      75   stopped on request; the same command goes on
    `- OurFault         70   a bug here

`raise DataError("data.ends-with-user", where="train.jsonl:812", found="user")` reads its words from
`errors.letters`: one table a room, one entry an id, both languages side by side. Every id that the
code raises has an entry, and the entry's placeholders are the values given: a test holds them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from llama_factory.errors.letters import LETTERS, Letter

__all__ = [
    "EXIT_CODES", "DataError", "DivergedError", "InputError", "Interrupted", "Language", "LlamaFactoryError",
    "MachineError", "OurFault", "ProofError", "SeveralErrors", "StartAgain", "letter", "nearest", "one_line",
]  # fmt: skip

Language = Literal["en", "zh"]


class LlamaFactoryError(Exception):
    """Base of all errors that are meant to reach a person."""

    exit_code = 70

    def __init__(self, id: str, /, *, where: object = "", **values: Any) -> None:
        self.id = id
        self.where = str(where)
        self.values: Mapping[str, Any] = values
        super().__init__(id)

    def letter(self, language: Language = "en") -> str:
        return letter(self.id, self.where, self.values, language)

    def __str__(self) -> str:
        return self.letter()

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.id, self.where, dict(self.values))


class InputError(LlamaFactoryError):
    exit_code = 2


class DataError(LlamaFactoryError):
    exit_code = 3


class MachineError(LlamaFactoryError):
    exit_code = 4


class DivergedError(LlamaFactoryError):
    exit_code = 5


class ProofError(LlamaFactoryError):
    exit_code = 6


class Interrupted(LlamaFactoryError):
    exit_code = 75


class OurFault(LlamaFactoryError):
    exit_code = 70


EXIT_CODES: Mapping[int, str] = {
    0: "done and checked",
    2: "the user's input",
    3: "data",
    4: "machine or memory",
    5: "training diverged",
    6: "a proof failed",
    70: "our own fault",
    75: "interrupted, resumable",
}


class SeveralErrors(LlamaFactoryError):
    """All problems of one file at once; the exit code is the first one's."""

    def __init__(self, errors: Iterable[LlamaFactoryError]) -> None:
        self.errors = tuple(errors)
        self.exit_code = self.errors[0].exit_code
        super().__init__(self.errors[0].id)

    def letter(self, language: Language = "en") -> str:
        return "\n\n".join(error.letter(language) for error in self.errors)

    def __reduce__(self) -> Any:
        return SeveralErrors, (self.errors,)


class StartAgain(Exception):
    """A faster way was found to differ from the plain one and is off from now on: make again what it made.

    `id` and `values` are those of a letter, for the note that tells about it. It never reaches a person as an error.
    """

    def __init__(self, id: str, /, **values: Any) -> None:
        self.id = id
        self.values: Mapping[str, Any] = values
        super().__init__(id)


def letter(id: str, where: str, values: Mapping[str, Any], language: Language = "en") -> str:
    """What happened, then what to do: two short paragraphs, led by the place."""
    words: Letter = LETTERS[id]
    said, cure = (words.en, words.en_cure) if language == "en" else (words.zh, words.zh_cure)
    head = f"{where}: " if where else ""
    return f"{head}{said.format_map(values)}\n{cure.format_map(values)}"


def one_line(id: str, where: str, values: Mapping[str, Any], language: Language = "en") -> str:
    """The same letter on one line, for what is only to be noticed."""
    parts = (part.strip() for part in letter(id, where, values, language).splitlines())
    return ("" if language == "zh" else " ").join(part for part in parts if part)


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (`x`?)``, to stand behind a wrong word in any language, or nothing when no known word is close."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (`{found[0]}`?)" if found else ""


def _rebuild(kind: type[LlamaFactoryError], id: str, where: str, values: dict[str, Any]) -> LlamaFactoryError:
    return kind(id, where=where, **values)
