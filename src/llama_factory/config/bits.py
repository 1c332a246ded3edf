"""Bytes that one weight of a linear layer takes, by bits and method. Light: arithmetic alone, no torch.

In: bits, method, group size. Out: bytes a weight, scales and offsets included. Embedding, head, norms and biases are
not quantised; whoever plans counts these at the compute format's size.
"""

from __future__ import annotations

HQQ_GROUP = 64
"""Weights that share a scale and an offset, where that divides the layer's inputs."""

NF4_BLOCK = 64
"""Weights that share a scale in 4 bits of bitsandbytes; in its second stage so many scales share one."""
SCALES_BLOCK = 256


def bytes_per_weight(
    bits: int, method: str = "", *, double: bool = True, group: int = HQQ_GROUP, scale_bytes: int = 4
) -> float:
    """Bytes of storage for one weight. bits: 32, 16, or what `quantization_bit` takes.

    method: "bitsandbytes" or "hqq"; empty: what would be taken for these bits. double: `double_quantization`.
    group: weights to a scale in HQQ. scale_bytes: of one number in the compute format, in which HQQ keeps scales.
    Raises ValueError for bits that the method does not have.
    """
    if bits in (32, 16):
        return bits / 8
    method = method or method_for(bits)
    if bits not in BITS.get(method, ()):
        raise ValueError(f"{method} has no {bits} bits")
    if method == "hqq":
        packed = 4 / 10 if bits == 3 else bits / 8  # ten weights of 3 bits in one number of 32
        return packed + 2 * scale_bytes / group
    if bits == 8:
        return 1.0  # its scales are one number a row
    return 0.5 + (1 / NF4_BLOCK + 4 / (NF4_BLOCK * SCALES_BLOCK) if double else 4 / NF4_BLOCK)


BITS = {"bitsandbytes": (8, 4), "hqq": (8, 4, 3, 2)}
"""What each method can do, as `quantization_bit` says it."""


def method_for(bits: int) -> str:
    """The method that is taken where none is named: the faster one that has these bits."""
    return "bitsandbytes" if bits in BITS["bitsandbytes"] else "hqq"
