"""A row of any known form -> one record; and finding out which form it is.

In: JSON objects and what the registry said about them. Out: a `Converter` chosen once for a data set, which turns
each row into a record or raises the letter that says why not; `expect`, which holds a record against the stage
of the run. Without a registry the form is recognised from the keys of the first rows and named aloud; rows that fit
two forms are refused with both. It deliberately reads no files and knows no tokens, and does not let the stage decide
how a row is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

from llama_factory.data.alpaca import DEFAULTS, Alpaca
from llama_factory.data.completions import Completion
from llama_factory.data.messages import Dialogue, Sample
from llama_factory.data.plain import Classes, Plain, RawTurns
from llama_factory.data.refusals import nothing, refuse_media
from llama_factory.data.registry import Entry
from llama_factory.data.words import hint, listed
from llama_factory.errors import DataError
from llama_factory.records import Classified, Conversation, Labelled, Origin, Preference, Record, Text

SAMPLE = 20
"""How many rows may be looked at to recognise a format; the first that has one decides."""


class Converter(Protocol):
    """One data set's way from a row to a record."""

    @property
    def said(self) -> str:
        """The format in a person's words."""

    @property
    def named(self) -> Mapping[str, str]:
        """The columns that the registry named, by their role: each must be in some row."""

    @property
    def read(self) -> frozenset[str]:
        """The keys that are read; what else a row has is not trained on."""

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record: ...


class Form(NamedTuple):
    """`needs`: the keys by which it is recognised. `weak`: it gives way to every form that is not."""

    needs: tuple[str, ...]
    converter: Callable[[Entry, Sample], Converter]
    weak: bool = False


def _dialogue(entry: Entry, sample: Sample) -> Converter:
    return Dialogue.choose(entry.formatting, entry.columns, entry.tags, sample)


def _alpaca(entry: Entry, sample: Sample) -> Converter:
    return Alpaca.choose(entry.columns, entry.shown, sample)


def _question(prompt: str, response: str) -> Callable[[Entry, Sample], Converter]:
    def choose(entry: Entry, sample: Sample) -> Converter:
        columns = {"prompt": prompt, "response": response, **entry.columns}
        return Alpaca.choose(columns, entry.shown, sample, said=f"{prompt}/{response}")

    return choose


def _completion(
    prompt: str | None, *, completion: str | None = None, sides: tuple[str, str] = ("chosen", "rejected")
) -> Callable[[Entry, Sample], Converter]:
    said = "/".join(key for key in (prompt, *((completion,) if completion else sides)) if key)

    def choose(entry: Entry, sample: Sample) -> Converter:
        named = sides_of(entry.columns) if sides == ("chosen", "rejected") else sides
        return Completion.choose(entry.columns, sample, said, prompt=prompt, completion=completion, sides=named)

    return choose


FORMS: tuple[Form, ...] = (
    Form(("messages",), _dialogue),
    Form(("conversations",), _dialogue),
    Form(("messages", "chosen", "rejected"), _dialogue),
    Form(("conversations", "chosen", "rejected"), _dialogue),
    Form(("turns",), lambda entry, sample: RawTurns()),
    Form(("instruction", "output"), _alpaca),
    Form(("instruction", "chosen", "rejected"), _alpaca),
    Form(("prompt", "response"), _question("prompt", "response")),
    Form(("question", "answer"), _question("question", "answer")),
    Form(("prompt", "completion"), _completion("prompt", completion="completion")),
    Form(("prompt", "chosen", "rejected"), _completion("prompt")),
    Form(("chosen", "rejected"), _completion(None)),
    Form(
        ("input", "preferred_output", "non_preferred_output"),
        _completion("input", sides=("preferred_output", "non_preferred_output")),
    ),
    Form(("text", "label"), lambda entry, sample: Classes("text", "label"), weak=True),
    Form(("text",), lambda entry, sample: Plain("text"), weak=True),
)

ANSWERS = frozenset(("output", "response", "answer", "completion"))
"""Columns of a single answer: not read where the registry names two to compare."""

FITS: Mapping[type[Record], tuple[str, ...]] = {
    Conversation: ("sft",),
    Text: ("pt",),
    Preference: ("rm", "dpo", "orpo", "simpo"),
    Labelled: ("kto",),
    Classified: ("classify",),
}
"""The stages that learn from each kind of record."""


def expect(record: Record, stage: str) -> None:
    """A record that another stage learns from is refused, with the name of that stage."""
    fits = FITS[type(record)]
    if stage not in fits:
        raise DataError("data.other-stage", where=record.origin, fits=", ".join(fits), stage=stage)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A converter whose rows may be nested as deeply as they like: what Python cannot follow is a bad row."""

    inner: Converter

    @property
    def said(self) -> str:
        return self.inner.said

    @property
    def named(self) -> Mapping[str, str]:
        return self.inner.named

    @property
    def read(self) -> frozenset[str]:
        return self.inner.read

    def convert(self, row: Mapping[str, Any], origin: Origin) -> Record:
        try:
            return self.inner.convert(row, origin)
        except RecursionError:
            raise DataError("data.too-deep", where=origin) from None


def choose(entry: Entry, sample: Sample) -> Converter:
    """What the registry says; where it says nothing, what the rows look like."""
    return Guarded(_chosen(entry, sample))


def _chosen(entry: Entry, sample: Sample) -> Converter:
    columns = entry.columns
    if columns.get("messages") or entry.tags:
        return _dialogue(entry, sample)
    if entry.formatting in ("sharegpt", "openai") and not _is_comparison(sample):
        return _dialogue(entry, sample)
    if entry.formatting == "alpaca" or columns.get("prompt") or columns.get("response"):
        return _tabular(entry, sample)
    for origin, row in sample:
        forms = recognised(row, columns)
        if len(forms) > 1:
            readings = "; ".join(" + ".join(form.needs) for form in forms)
            raise DataError("data.ambiguous-format", where=origin, readings=readings, keys=listed(row))
        if forms:
            return forms[0].converter(entry, sample)
    _refuse_unknown(entry, sample)


def recognised(row: Mapping[str, Any], columns: Mapping[str, str | None] | None = None) -> list[Form]:
    """The forms that a row has: by its keys that say something, or else by its keys. What `columns` says of answers
    to compare decides between them and a single one."""
    for found in ({key for key, value in row.items() if not nothing(value)}, set(row)):
        keys = _as_named(found, columns or {})
        forms = [form for form in FORMS if keys.issuperset(form.needs) and _is_shaped(form, row)]
        forms = [form for form in forms if not form.weak] or forms
        forms = [form for form in forms if not any(set(form.needs) < set(other.needs) for other in forms)]
        if forms:
            return forms
    return []


def _as_named(keys: set[str], columns: Mapping[str, str | None]) -> set[str]:
    for role in ("chosen", "rejected"):
        named = columns.get(role)
        if role in columns:
            keys = keys - {role} if named is None else keys - ANSWERS | {role} if named in keys else keys
    return keys


def _is_shaped(form: Form, row: Mapping[str, Any]) -> bool:
    """`turns` is the name of many things."""
    if form.needs != ("turns",):
        return True
    turns = row["turns"]
    first = turns[0] if isinstance(turns, list) and turns else None
    return isinstance(first, dict) and "role" in first and "content" in first


def sides_of(columns: Mapping[str, str | None]) -> tuple[str, str]:
    """The columns of the better and of the worse answer."""
    return columns.get("chosen") or "chosen", columns.get("rejected") or "rejected"


def _is_comparison(sample: Sample) -> bool:
    """Rows of OpenAI's preference files hold no dialogue of their own."""
    return any("preferred_output" in row and "messages" not in row for _, row in sample)


def _tabular(entry: Entry, sample: Sample) -> Converter:
    """Named columns: a question and an answer, a comparison of messages, or one text a row."""
    columns = entry.columns
    prompt = columns.get("prompt") or DEFAULTS["prompt"]
    response = columns.get("response", DEFAULTS["response"])
    paired = any(columns.get(side) for side in ("chosen", "rejected"))
    spoken = any(isinstance(row.get(prompt), (list, dict)) for _, row in sample)
    if spoken and (paired or response):
        sides = sides_of(columns)
        said = "/".join((prompt, *(sides if paired else (response or "",))))
        completion = None if paired else response
        return Completion.choose(columns, sample, said, prompt=prompt, completion=completion, sides=sides)
    alone = [role for role, column in columns.items() if column] == ["prompt"]
    if alone and (response is None or not _answered(prompt, sample)):
        return Plain(prompt, {"prompt": prompt})
    return _alpaca(entry, sample)


def _answered(prompt: str, sample: Sample) -> bool:
    """Whether a row holds anything under a usual name of the format: then its prompt is not all there is."""
    names = {*DEFAULTS.values(), "chosen", "rejected"} - {prompt}
    return any(not names.isdisjoint(row) for _, row in sample)


def _refuse_unknown(entry: Entry, sample: Sequence[tuple[Origin, Mapping[str, Any]]]) -> NoReturn:
    if not sample:
        raise DataError("data.no-rows", where=entry.shown)
    origin, row = sample[0]
    refuse_media(row, origin)
    known = sorted({key for form in FORMS for key in form.needs})
    hints = [hint(key, known) for key in row]
    raise DataError(
        "data.unknown-format",
        where=origin,
        keys=listed(row),
        forms="; ".join(" + ".join(form.needs) for form in FORMS),
        hint=next((near for near in hints if near), ""),
    )
