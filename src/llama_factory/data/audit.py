"""What the prepared rows show: too little or too much trained, rows twice, validation rows that are trained on.

In: `Prepared`. Out: findings `data.*`. Reads the token store only, so a second look costs as little as the first.
Of each row it keeps numbers of a fixed size, which are sorted: neither time nor memory grows faster than the rows do.
What was found row by row while the files were read is in `Summary.findings`; what no run could use has been refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llama_factory.data.preparing import Prepared
from llama_factory.data.store import TokenStore
from llama_factory.data.summary import DataSetSummary
from llama_factory.records import Finding

LITTLE, MOST = 0.01, 0.95
"""Shares of trained tokens outside of which columns are often swapped or the prompt is missing."""

LOOKED_AT_ONCE = 4096
"""Pairs of rows that are compared before what was read of the files is let go."""


def audit(rows: Prepared, *, everything: bool = False) -> list[Finding]:
    """Each kind of finding once for a data set or for the run, with a count and the first place.

    everything: all tokens are meant to be trained.
    """
    most = 1.0 if everything else MOST
    found = [finding for one in rows.summary.train + rows.summary.validation for finding in _of_file(one, most)]
    firsts = _Firsts.of(rows.train)
    found += _twice(rows.train, firsts)
    if rows.validation is not None:
        found += _leaks(rows.validation, rows.train, firsts)
    return found


def _of_file(one: DataSetSummary, most: float) -> list[Finding]:
    account, share = one.account, {"share": f"{one.supervised_share:.1%}"}
    found: list[Finding] = []
    if one.supervised_share < LITTLE:
        found.append(Finding("data.little-trained", "warning", account.file, share))
    if one.supervised_share > most:
        found.append(Finding("data.mostly-trained", "warning", account.file, share))
    if account.bad:
        values = {"count": account.bad, "read": account.read}
        found.append(Finding("data.rows-skipped", "warning", account.bad_rows[0].where, values))
    if account.too_long:
        long = {
            "count": account.too_long,
            "read": account.read,
            "lost": account.lost,
            "shortened": account.shortened,
            "longest": account.longest,
        }
        found.append(Finding("data.rows-too-long", "warning", account.long_rows[0].where, long))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Firsts:
    """Different rows of a store by their digests: digest_D in order, number_D the rows, equal ones in their order."""

    digest_D: NDArray[np.uint64]
    number_D: NDArray[np.int64]

    @classmethod
    def of(cls, store: TokenStore) -> _Firsts:
        """A row that an epoch takes several times on purpose (`mix_strategy`) is looked at once."""
        number_D = store.different()
        digest_D = store.digests()[number_D]
        by_digest = np.argsort(digest_D, kind="stable")
        return cls(digest_D[by_digest], number_D[by_digest])

    def like(self, digest_R: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The first row of each of these digests, or -1."""
        place = np.minimum(np.searchsorted(self.digest_D, digest_R), self.digest_D.size - 1)
        return np.where(self.digest_D[place] == digest_R, self.number_D[place], -1)


def _twice(store: TokenStore, firsts: _Firsts) -> list[Finding]:
    """Rows that equal an earlier one token by token."""
    again = np.flatnonzero(firsts.digest_D[1:] == firsts.digest_D[:-1]) + 1
    number_C, first_C = firsts.number_D[again], firsts.like(firsts.digest_D[again])
    in_order = np.argsort(number_C)
    count, copy, first = _equal(store, number_C[in_order], store, first_C[in_order])
    if not count:
        return []
    values = {"count": count, "rows": len(store), "first": str(store.origin(first))}
    return [Finding("data.duplicates", "warning", str(store.origin(copy)), values)]


def _leaks(judged: TokenStore, trained: TokenStore, firsts: _Firsts) -> list[Finding]:
    first_R = firsts.like(judged.digests())
    number_C = np.flatnonzero(first_R >= 0)
    count, number, first = _equal(judged, number_C, trained, first_R[number_C])
    if not count:
        return []
    values = {"count": count, "rows": len(judged), "first": str(trained.origin(first))}
    return [Finding("data.leak", "warning", str(judged.origin(number)), values)]


def _equal(
    store: TokenStore, number_C: NDArray[np.int64], other: TokenStore, first_C: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Of pairs of rows with equal digests: how many are equal, and the first such pair.

    64 bits alone would name a wrong row once in a great while.
    """
    count, pair = 0, (-1, -1)
    for at in range(0, number_C.size, LOOKED_AT_ONCE):
        some = slice(at, at + LOOKED_AT_ONCE)
        for number, first in zip(number_C[some].tolist(), first_C[some].tolist(), strict=True):
            if np.array_equal(store.tokens_of(number), other.tokens_of(first)):
                count, pair = count + 1, pair if count else (number, first)
        store.let_go()
        other.let_go()
    return count, *pair
