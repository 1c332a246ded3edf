"""Which of some tokens the rows hold: a token that stands in none of them learns nothing.

In: the rows that are trained on, ids by the text of the token. Out: findings `data.token-*`. Reads ids and weights,
some rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llama_factory.data.store import TokenStore
from llama_factory.records import Finding

SHOWN = 8


def audit(store: TokenStore, ids: Mapping[str, int]) -> list[Finding]:
    """A warning for those that no row holds, a note for those that are only ever read and never answered with."""
    if not ids:
        return []
    id_N = np.array(list(ids.values()))
    read_N, learned_N = np.zeros(len(id_N), dtype=bool), np.zeros(len(id_N), dtype=bool)
    for ids_T, weight_T in store.pieces():
        near_T = (ids_T >= id_N.min()) & (ids_T <= id_N.max())
        near, weight = ids_T[near_T], weight_T[near_T]
        read_N |= np.isin(id_N, near)
        learned_N |= np.isin(id_N, near[weight != 0])
    found = []
    for id, severe, missing_N in (("data.token-unused", True, ~read_N), ("data.token-only-read", False, ~learned_N)):
        tokens = [
            token for token, missing, read in zip(ids, missing_N, read_N, strict=True) if missing and read != severe
        ]
        if tokens:
            values = {"count": len(tokens), "new": len(ids), "found": ", ".join(map(repr, tokens[:SHOWN]))}
            found.append(Finding(id, "warning" if severe else "note", "", values))
    return found
