"""What the prepared rows show: too little or too much trained, rows twice, validation rows that are trained on.

In: `Prepared`. Out: findings `data.*`. Reads the token store only, so a second look costs as little as the first.
What was found row by row while the files were read is in `Summary.findings`; what no run could use has been refused.
"""

from __future__ import annotations

import hashlib

from llama_factory.data.preparing import Prepared
from llama_factory.data.store import TokenStore
from llama_factory.data.summary import DataSetSummary
from llama_factory.records import Finding

LITTLE, MOST = 0.01, 0.95
"""Shares of trained tokens outside of which columns are often swapped or the prompt is missing."""


def audit(rows: Prepared, *, everything: bool = False) -> list[Finding]:
    """Each kind of finding once for a data set or for the run, with a count and the first place.

    everything: all tokens are meant to be trained.
    """
    most = 1.0 if everything else MOST
    found = [finding for one in rows.summary.train + rows.summary.validation for finding in _of_file(one, most)]
    first_by_digest: dict[bytes, int] = {}
    found += _twice(rows.train, first_by_digest)
    if rows.validation is not None:
        found += _leaks(rows.validation, rows.train, first_by_digest)
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


def _twice(store: TokenStore, first_by_digest: dict[bytes, int]) -> list[Finding]:
    """Rows that equal an earlier one token by token. Fills the table of first rows on its way.

    A row that an epoch takes several times on purpose (`mix_strategy`) is looked at once.
    """
    copies: list[tuple[int, int]] = []
    count = 0
    for number in store.different().tolist():
        first = first_by_digest.setdefault(_digest(store, number), number)
        if first != number:
            count += 1
            copies = copies or [(number, first)]
    if not copies:
        return []
    (copy, first), *_ = copies
    values = {"count": count, "rows": len(store), "first": str(store.origin(first))}
    return [Finding("data.duplicates", "warning", str(store.origin(copy)), values)]


def _leaks(judged: TokenStore, trained: TokenStore, first_by_digest: dict[bytes, int]) -> list[Finding]:
    hits = [
        (number, first_by_digest[digest])
        for number in range(len(judged))
        if (digest := _digest(judged, number)) in first_by_digest
    ]
    if not hits:
        return []
    number, first = hits[0]
    values = {"count": len(hits), "rows": len(judged), "first": str(trained.origin(first))}
    return [Finding("data.leak", "warning", str(judged.origin(number)), values)]


def _digest(store: TokenStore, number: int) -> bytes:
    return hashlib.blake2b(store.tokens_of(number).tobytes(), digest_size=16).digest()
