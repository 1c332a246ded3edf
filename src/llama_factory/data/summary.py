"""What happened to each data set, as values and as lines to read.

In: counts and findings gathered while a data set was read and rendered (`Account`, kept in `meta.json` so
that a second run says the same), lengths from the store. Out: `Summary`, whose `lines` are what a
person sees before step 1. It deliberately decides nothing and raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from llama_factory.data.store import TokenStore
from llama_factory.data.words import line
from llama_factory.errors import Language, LlamaFactoryError, letter
from llama_factory.records import Finding

Found = Literal["hit", "miss", "new", "damaged"]
"""How the token store was met. A miss knows what changed; a new file was never seen."""

LISTED = 10
"""How many skipped or too long rows of a data set are named one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Account:
    """What reading and rendering one file found. Rows in the file = kept from + bad + lost.

    read: records read; kept: rows in the store (several for a record that was split).
    bad: records that could not be used; too_long: records above `cutoff_len`, of which `lost` left nothing and
    `shortened` left only a part; longest: tokens of the longest of these.
    """

    file: str
    format: str
    read: int = 0
    kept: int = 0
    bad: int = 0
    too_long: int = 0
    lost: int = 0
    shortened: int = 0
    longest: int = 0
    bad_rows: tuple[Finding, ...] = ()
    long_rows: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        plain = asdict(self)
        for key in ("bad_rows", "long_rows", "notes"):
            plain[key] = [_finding_as_json(finding) for finding in getattr(self, key)]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Account:
        lists = {key: tuple(Finding(**finding) for finding in plain[key]) for key in ("bad_rows", "long_rows", "notes")}
        return cls(**{**plain, **lists})


@dataclass(frozen=True, slots=True)
class DataSetSummary:
    """One data set of the run. `changed` names what made it a miss, or which file was damaged."""

    name: str
    account: Account
    store: Found
    changed: tuple[str, ...]
    tokens: int
    supervised_share: float
    length_p50: int
    length_p95: int
    length_max: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.account.notes + self.account.bad_rows + self.account.long_rows


@dataclass(frozen=True, slots=True)
class Share:
    """One data set of a mixture: rows it has in an epoch, how many of them are different, how many there are."""

    name: str
    rows: int
    different: int
    of: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All data sets of the run, and how many rows are trained on and how many only judged.

    shares: what each data set gives to an epoch, where they are mixed. packs: 0 where rows are not packed.
    """

    train: tuple[DataSetSummary, ...]
    validation: tuple[DataSetSummary, ...]
    train_rows: int
    validation_rows: int
    shares: tuple[Share, ...] = ()
    packs: int = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for one in self.train + self.validation for finding in one.findings)

    def lines(self, language: Language = "en") -> list[str]:
        """A few lines a data set, then the totals."""
        lines = [text for one in self.train + self.validation for text in data_set_lines(one, language)]
        return [*lines, *epoch_lines(self, language)]


def summarise(name: str, account: Account, store: TokenStore, found: Found, changed: tuple[str, ...]) -> DataSetSummary:
    """Lengths and shares of one data set's own store."""
    p50, p95, longest = (int(x) for x in np.percentile(store.lengths, [50, 95, 100], method="higher"))
    return DataSetSummary(
        name=name,
        account=account,
        store=found,
        changed=changed,
        tokens=store.tokens,
        supervised_share=float((store.supervised.sum()) / store.tokens),
        length_p50=p50,
        length_p95=p95,
        length_max=longest,
    )


def head_lines(one: DataSetSummary, language: Language) -> list[str]:
    """Rows and lengths of one data set."""
    account = one.account
    place = one.name if one.name == account.file else f"{one.name} ({account.file})"
    return [
        line(
            "read", language, place=place, format=account.format, read=account.read,
            kept=account.kept,
        ),
        line(
            "lengths", language, tokens=one.tokens, share=one.supervised_share, p50=one.length_p50,
            p95=one.length_p95, longest=one.length_max,
        ),
    ]  # fmt: skip


def data_set_lines(one: DataSetSummary, language: Language) -> list[str]:
    """What a person reads about one data set."""
    account = one.account
    said = [*head_lines(one, language), line(one.store, language, changed=", ".join(one.changed))]
    if account.bad:
        said.append(line("bad", language, count=account.bad, read=account.read))
        said += _listed(account.bad_rows, account.bad, language)
    if account.too_long:
        said.append(
            line(
                "long", language, count=account.too_long, read=account.read, lost=account.lost,
                shortened=account.shortened, longest=account.longest,
            )
        )  # fmt: skip
        said += _listed(account.long_rows, account.too_long, language)
    return said + [
        f"  {letter(note.id, note.where, note.values, language)}".replace("\n", " ") for note in account.notes
    ]


def epoch_lines(summary: Summary, language: Language) -> list[str]:
    """What an epoch is made of."""
    said = [
        line("share", language, name=one.name, rows=one.rows, different=one.different, of=one.of)
        for one in summary.shares
    ]
    said.append(line("totals", language, train=summary.train_rows, validation=summary.validation_rows))
    if summary.packs:
        each = summary.train_rows / summary.packs
        said.append(line("packs", language, packs=summary.packs, each=each))
    return said


def _listed(rows: Sequence[Finding], count: int, language: Language) -> list[str]:
    said = [f"    {letter(row.id, row.where, row.values, language).splitlines()[0]}" for row in rows]
    return [*said, line("more", language, count=count - len(rows))] if count > len(rows) else said


def as_finding(error: LlamaFactoryError) -> Finding:
    """An error of one row, kept as a value; its facts are made plain, because they are written to a file."""
    values = {key: value if isinstance(value, (int, float)) else str(value) for key, value in error.values.items()}
    return Finding(id=error.id, severity="warning", where=error.where, values=values)


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": finding.severity,
        "where": finding.where,
        "values": dict(finding.values),
    }
