"""What the tutorials print about memory, as formulas, to stand beside what is counted here.

In: a count of weights. Out: bytes, or None where a tutorial says nothing. Where they are wrong: one counts LoRA at 10
bytes a weight, five times what frozen bf16 weights take, and says that freezing takes less than LoRA, which is so
only for few layers; the other gives 18 bytes for what its own line for 7 billion weights rounds down to 17, and leaves
out everything that grows with the batch (activations, logits).
"""

from __future__ import annotations

from collections.abc import Mapping

FIRST: Mapping[tuple[str, int], float] = {("full", 16): 20.0, ("lora", 16): 10.0, ("freeze", 16): 6.0}
"""Bytes for each weight: "which method fits my machine"."""

SECOND: Mapping[tuple[str, int], float] = {
    ("full", 16): 18.0, ("full, pure_bf16", 16): 8.0, ("freeze", 16): 2.0, ("lora", 16): 2.0, ("lora", 8): 1.0,
    ("lora", 4): 0.5, ("lora", 2): 0.25,
}  # fmt: skip
"""Bytes for each weight: the Hunyuan tutorial."""


def said(name: str, bits: int, parameters: int) -> tuple[float | None, float | None]:
    """Of a method by the first and by the second."""
    return tuple(  # type: ignore[return-value]
        None if (factor := table.get((name, bits))) is None else factor * parameters for table in (FIRST, SECOND)
    )


BATCHES: Mapping[int, tuple[int, int]] = {16: (2, 8), 24: (4, 4), 32: (8, 2), 40: (16, 1)}
"""GB of a GPU -> rows at a time and accumulation that the Hunyuan tutorial advises, 16 rows an update for all."""
