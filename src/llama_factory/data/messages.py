"""Rows with a dialogue: OpenAI's `messages` (role, content) and ShareGPT's `conversations` (from, value).

In: a row, and the names of its columns and tags. Out: a `Conversation`; a `Preference` where the dialogue ends before
two answers in `chosen` and `rejected`; a `Labelled` one where `kto_tag` or a true or false `label` judges it. Columns
and tags that the registry does not name keep every usual spelling that no given one has taken. It deliberately
repairs nothing: a dialogue of another shape is refused with the turn that breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_factory.data.calls import Tools, tools_of
from llama_factory.data.pairs import conversation, labelled, preference
from llama_factory.data.refusals import missing, nothing, refuse_media, text
from llama_factory.data.turns import PAIRS, Turns
from llama_factory.errors import DataError
from llama_factory.records import Labelled, Message, Origin, Preference, Record

USUAL = {"sharegpt": ("conversations", PAIRS[1]), "openai": ("messages", PAIRS[0])}
BESIDE = {
    "system": ("system",),
    "tools": ("tools", "functions"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "kto_tag": ("kto_tag",),
}
"""Columns beside the dialogue, by role: their usual names."""

Sample = Sequence[tuple[Origin, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """`columns` in the order in which a row is looked through; `beside` names those of `BESIDE` that are read."""

    columns: tuple[str, ...]
    beside: Mapping[str, tuple[str, ...]]
    rare: frozenset[str]
    turns: Turns
    named: Mapping[str, str]
    read: frozenset[str]
    said: str

    @classmethod
    def choose(
        cls, formatting: str | None, columns: Mapping[str, str | None], tags: Mapping[str, str], sample: Sample
    ) -> Dialogue:
        named = columns.get("messages")
        first, pair = USUAL.get(formatting or "openai", USUAL["openai"])
        other = "messages" if first == "conversations" else "conversations"
        taken = {column for column in columns.values() if column}
        places = (named,) if named else tuple(place for place in (first, other) if place not in taken)
        if any(all(place in row for place in places) for _, row in sample):
            places = places[:1]  # the registry said which form it is: the other column is not read, and that is said
        beside = besides(columns, {*taken, *places})
        turns = Turns.choose(tags, pair, [row.get(place) for _, row in sample for place in places])
        names = {name for names in beside.values() for name in names}
        present = [place for place in places if any(place in row for _, row in sample)] or [places[0]]
        return cls(
            columns=places,
            beside=beside,
            rare=frozenset((*names, "label", "images", "videos", "audios", "image", "video", "audio")),
            turns=turns,
            named={role: column for role, column in columns.items() if column},
            read=frozenset((*places, *names, *(("label",) if _judged(sample, columns) else ()))),
            said=f"{'/'.join(present)} ({turns.role_tag}/{turns.content_tag}{_developers(places, turns, sample)})",
        )

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        column = next((column for column in self.columns if column in row), None)
        if column is None:
            refuse_media(row, origin, self.read)
            raise missing(row, self.columns[0], origin)
        messages = self.turns.all(row[column], column, origin)
        if self.rare.isdisjoint(row):
            return conversation(messages, origin)
        return self._with_columns(row, messages, origin)

    def _with_columns(self, row: Mapping[str, Any], messages: list[Message], origin: Origin) -> Record:
        refuse_media(row, origin, self.read)
        self._add_system(row, messages, origin)
        tools: Tools = ()
        for name in self.beside["tools"]:
            tools = tools or tools_of(row.get(name), name, origin)
        sides = [self._present(row, side) for side in ("chosen", "rejected")]
        if sides[0] or sides[1]:
            return self._preference(row, messages, origin, tools)
        whole = conversation(messages, origin, tools)
        judged = self._present(row, "kto_tag")
        if judged:
            return labelled(whole, row[judged], judged)
        if "label" in row and isinstance(row["label"], bool) and self.beside["kto_tag"]:
            return Labelled(whole, row["label"])
        return whole

    def _preference(self, row: Mapping[str, Any], messages: list[Message], origin: Origin, tools: Tools) -> Preference:
        columns = [self.beside[side][0] if self.beside[side] else side for side in ("chosen", "rejected")]
        return preference(row, (columns[0], columns[1]), messages, self.turns, origin, tools)

    def _present(self, row: Mapping[str, Any], role: str) -> str:
        """The column of this role that says something in this row, or ""."""
        return next((name for name in self.beside[role] if name in row and not nothing(row[name])), "")

    def _add_system(self, row: Mapping[str, Any], messages: list[Message], origin: Origin) -> None:
        name = self._present(row, "system")
        if not name:
            return
        words = text(row[name], name, origin)
        if messages[0].role != "system":
            messages.insert(0, Message("system", words))
        elif messages[0].content != words:
            raise DataError("data.two-systems", where=origin, key=name)


def besides(columns: Mapping[str, str | None], taken: set[str]) -> dict[str, tuple[str, ...]]:
    """The columns beside a dialogue or a question: what the registry names, else the usual names that are free."""
    chosen: dict[str, tuple[str, ...]] = {}
    for role, usual in BESIDE.items():
        if role in columns:
            named = columns[role]
            chosen[role] = (named,) if named else ()
        else:
            chosen[role] = tuple(name for name in usual if name not in taken)
    return chosen


def _developers(places: tuple[str, ...], turns: Turns, sample: Sample) -> str:
    """OpenAI's newer name for the system, said where it is met."""
    lists = [row.get(place) for _, row in sample for place in places]
    firsts = [turn[0] for turn in lists if isinstance(turn, list) and turn and isinstance(turn[0], dict)]
    return ", developer = system" if any(first.get(turns.role_tag) == "developer" for first in firsts) else ""


def _judged(sample: Sample, columns: Mapping[str, str | None]) -> bool:
    return columns.get("kto_tag", "") is not None and any(isinstance(row.get("label"), bool) for _, row in sample)
