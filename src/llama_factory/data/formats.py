"""A row of a known form -> one `Conversation`; and finding out which form it is.

In: JSON objects and what the registry said about them. Out: a `Converter` chosen once for a data set, which
turns each row into a conversation or raises the letter that says why not. Without a registry the form is
recognised from the keys of the first rows and named aloud. Rows that belong to other stages (preference
pairs, plain text, tool calls, media) are recognised as such and refused by name. It deliberately reads
no files and knows no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from llama_factory.data.alpaca import Alpaca
from llama_factory.data.messages import Dialogue
from llama_factory.data.refusals import refuse_other_stage
from llama_factory.data.registry import Entry
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError
from llama_factory.records import Conversation, Origin

SAMPLE = 20
"""How many rows may be looked at to recognise a format; the first that has one decides."""

FORMS = {
    "alpaca": ("instruction", "output"),
    "messages": ("messages",),
    "conversations": ("conversations",),
    "prompt/response": ("prompt", "response"),
}


class Converter(Protocol):
    """One data set's way from a row to a conversation."""

    @property
    def said(self) -> str:
        """The format in a person's words."""

    @property
    def named(self) -> Mapping[str, str]:
        """The columns that the registry named, by their role: each must be in some row."""

    @property
    def read(self) -> frozenset[str]:
        """The keys that are read; what else a row has is not trained on."""

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Conversation: ...


def choose(entry: Entry, sample: Sequence[tuple[Origin, Mapping[str, Any]]]) -> Converter:
    """What the registry says; where it says nothing, what the rows look like."""
    columns = entry.columns
    if entry.formatting in ("sharegpt", "openai") or columns.get("messages") or entry.tags:
        return Dialogue.choose(entry.formatting, columns, entry.tags, sample)
    if entry.formatting == "alpaca" or columns.get("prompt") or columns.get("response"):
        return Alpaca.choose(columns, entry.shown)
    for origin, row in sample:
        refuse_other_stage(row, origin)
        form = next((form for form, wanted in FORMS.items() if all(key in row for key in wanted)), None)
        if form == "alpaca":
            return Alpaca.choose(columns, entry.shown)
        if form == "prompt/response":
            return Alpaca.choose({"prompt": "prompt", "response": "response", **columns}, entry.shown, said=form)
        if form:
            return Dialogue.choose(None, columns, entry.tags, sample)
    _refuse_unknown(entry, sample)


def _refuse_unknown(entry: Entry, sample: Sequence[tuple[Origin, Mapping[str, Any]]]) -> NoReturn:
    if not sample:
        raise DataError("data.no-rows", where=entry.shown)
    origin, row = sample[0]
    known = sorted({key for wanted in FORMS.values() for key in wanted})
    hints = [hint(key, known) for key in row]
    raise DataError(
        "data.unknown-format",
        where=origin,
        keys=listed(row),
        forms="; ".join(" + ".join(wanted) for wanted in FORMS.values()),
        hint=next((near for near in hints if near), ""),
    )
