"""The strongest directions of a matrix: what PiSSA and LoftQ begin from.

In: a matrix, how many directions, a generator. Out: two thin matrices whose product is the closest one of that rank.
It knows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_factory.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor

BEYOND = 8
"""Directions more than asked for that the fast decomposition follows; Halko et al. advise 5 to 10."""


def strongest(weight_OI: Tensor, rank: int, rounds: int, generator: Generator, *, key: str) -> tuple[Tensor, Tensor]:
    """U sqrt(S) (O, R) and sqrt(S) V' (R, I) of the `rank` largest singular values.

    rounds: of subspace iteration, Halko et al. 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1; -1 is exact. key: the
    one that asks for it, as a letter about a rank that is too large names it.
    """
    import torch

    size = min(weight_OI.shape)
    if rank > size:
        raise InputError("model.rank-beyond-weight", where="lora_rank", found=rank, known=size, key=key)
    if rounds < 0:
        u, s, vh = torch.linalg.svd(weight_OI, full_matrices=False)
    else:
        width = min(rank + BEYOND, size)
        drawn = torch.randn(weight_OI.shape[1], width, generator=generator, dtype=weight_OI.dtype)
        basis = torch.linalg.qr(weight_OI @ drawn.to(weight_OI.device)).Q
        for _ in range(rounds):
            basis = torch.linalg.qr(weight_OI @ torch.linalg.qr(weight_OI.t() @ basis).Q).Q
        u, s, vh = torch.linalg.svd(basis.t() @ weight_OI, full_matrices=False)
        u = basis @ u
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]
