"""About how much memory a step takes, from a model's configuration alone.

In: what `config.json` says, the rows of a forward. Out: bytes. No weights are read and nothing is measured. It counts
what our own layers keep for the backward (`model/gated.py`, `norm.py`, `isolated.py`, `head.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_factory.model.head import CHUNK_ROWS
from llama_factory.model.isolated import BLOCK, KEPT_KEYS

KEPT_WIDE = 6
"""Of a layer: both residuals, the same after their norms, the queries, the attention's output."""

KEPT_INNER = 2
"""The outputs of the gate and of the layer beside it."""


def activations(config: Mapping[str, Any], lengths: Sequence[int], number_bytes: int, *, checkpointing: bool) -> int:
    """Bytes for the forward and backward of rows of these lengths; 0 where the configuration says too little.

    With checkpointing the input of every layer is kept, and one layer at a time in full.
    """
    text = config.get("text_config", config)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    found = [text.get(name) for name in names]
    if not lengths or not all(isinstance(value, int) and value > 0 for value in found):
        return 0
    width, inner, layers, heads, vocabulary = found
    tokens = sum(lengths)
    keys_and_values = 2 * width * text.get("num_key_value_heads", heads) // heads
    softmax = heads * sum(length * min((length + BLOCK) // 2, KEPT_KEYS) for length in lengths)
    layer = tokens * (KEPT_WIDE * width + keys_and_values + KEPT_INNER * inner) + softmax
    kept = layers * tokens * width + layer if checkpointing else layers * layer
    return int((kept + 2 * min(CHUNK_ROWS, tokens) * vocabulary) * number_bytes)
