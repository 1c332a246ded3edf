"""What a forward keeps for its backward, counted tensor by tensor as our own layers keep it.

In: a `ModelShape` and a `Setup`. Out: bytes. The layers are those of `model/gated.py`, `norm.py`, `isolated.py`,
`lora.py` and `head.py`; with width D, inner width I and Hq, Hk heads of width d, a layer keeps

    the residual before each of the two norms and the same after it                 4 D
    queries, keys, values, and the attention's output                               2 Hq d + 2 Hk d
    P of blocks that see at most 512 keys (n = min(length, 512))                    Hq n (n + 128) / 2 a document
        in its place: one number a query, of compiled kernels, which are for bf16     Hq (4 bytes each)
        in its place: keys and values for every head, of torch's own in fp32          3 Hq d + Hq d
    what gate and up gave; where the MLP is not in one piece, also silu and h       2 I, 4 I

numbers for every token, but for P. The library's own layers, which stand in where ours are not shown to be equal,
keep more.
"""

from __future__ import annotations

from llama_factory.planner.setup import PROMPTS, SINGLE, Setup, running_layers
from llama_factory.records import LayerShape, ModelShape

BLOCK = 128
KEPT_KEYS = 512
CHUNK_ROWS = 256
FLAT_ROWS = 32
KEPT_BYTES = 512 * 2**20
"""As in `model/isolated.py` and `model/head.py`; a test compares them."""

LANES = 16
"""As in `model/native/attention.py`."""

NORMS_KEEP_EXACT = 2
"""The library's norm keeps a whole copy in fp32 for its backward."""


def kept(shape: ModelShape, setup: Setup) -> int:
    """Bytes of all that a micro-batch keeps for the backward.

    With checkpointing the input of every layer is kept, and one layer at a time in full.
    """
    running = running_layers(shape, setup)
    each = [_layer(shape, layer, setup) for layer in shape.layers for _ in range(layer.count)]
    each = each[len(each) - running :]
    if not setup.checkpointing:
        return sum(each)
    return running * setup.tokens * shape.hidden * setup.number + max(each, default=0)


def _layer(shape: ModelShape, layer: LayerShape, setup: Setup) -> int:
    """Bytes that one layer keeps."""
    query, key = shape.heads * shape.key_width, shape.kv_heads * shape.key_width
    out, value = shape.heads * shape.value_width, shape.kv_heads * shape.value_width
    wide = 4 * shape.hidden + query + key + value + out
    numbers = wide + _mlp(shape, layer, setup) + _ranks(layer, setup)
    exact = 0 if setup.fused else NORMS_KEEP_EXACT * shape.hidden * SINGLE
    if setup.number == SINGLE and setup.method != PROMPTS:
        numbers += 3 * query + out  # torch's own attention, row by row: keys and values for every head, in and out
    sums = shape.heads * SINGLE if attends_natively(shape, setup) else 0  # one number a query
    return setup.tokens * (numbers * setup.number + exact + sums) + kept_scores(shape, setup) * setup.number


def kept_scores(shape: ModelShape, setup: Setup) -> int:
    """Numbers of the softmax that a layer's attention keeps: of a document's first blocks, up to KEPT_KEYS keys.

    The compiled kernel keeps none, nor does torch's own attention, which is taken for rows behind learned tokens and
    in fp32.
    """
    if setup.method == PROMPTS or attends_natively(shape, setup) or setup.number == SINGLE:
        return 0
    return shape.heads * sum(_triangle(min(length, KEPT_KEYS)) for length in setup.lengths)


def computed_scores(shape: ModelShape, setup: Setup) -> int:
    """Numbers of the softmax that a layer's attention computes."""
    return shape.heads * sum(_triangle(length) for length in setup.lengths)


def attends_natively(shape: ModelShape, setup: Setup) -> bool:
    """As `model/native/attention.py` decides it by widths."""
    return setup.takes_kernels and shape.key_width % LANES == 0 and shape.value_width == shape.key_width


def _triangle(length: int) -> int:
    """Blocks of BLOCK queries, each over all keys up to its own end."""
    return length * (length + BLOCK) // 2


def _mlp(shape: ModelShape, layer: LayerShape, setup: Setup) -> int:
    """Numbers a token. Of experts each token passes through `used`."""
    back = [one for one in layer.linears if one.name.startswith(INSIDE) and one.name.endswith(BACK)]
    inner = sum(one.inputs * one.used for one in back)
    if not shape.gated:
        return 2 * inner
    inside = {one.name for one in layer.linears if one.name.startswith(INSIDE)}
    whole = setup.fused and setup.method != "oft" and not setup.quantised and inside == ONE_PIECE
    return (2 if whole else 4) * inner


INSIDE = ("mlp.", "experts.", "shared_expert")
BACK = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")
"""The matrices that lead out of an MLP; their input is as wide as the MLP inside."""


ONE_PIECE = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
"""The layers of an MLP that `model/gated.py` computes in one piece: plain ones, or each with a LoRA adapter."""


def _ranks(layer: LayerShape, setup: Setup) -> int:
    """Numbers a token that adapters keep: the narrow state between two halves, or a layer's rotated input."""
    if setup.method == "oft":
        return sum(one.inputs for one in layer.linears if one.adapts)
    if setup.method != "lora":
        return 0
    return setup.rank * sum(one.adapts for one in layer.linears)


def head_buffers(shape: ModelShape, setup: Setup) -> int:
    """Logits of one chunk in the working format and of some rows in fp32; a head that learns keeps its slopes too."""
    if setup.method == PROMPTS:
        return _all_logits(shape, setup)
    rows = min(CHUNK_ROWS, setup.learned)
    chunk = rows * shape.vocab * setup.number
    flat = 0 if setup.takes_kernels else 2 * min(FLAT_ROWS, rows) * shape.vocab * SINGLE
    slopes = setup.learned * shape.hidden * setup.number
    if setup.learns_whole:
        whole = setup.learned * shape.vocab * setup.number
        slopes += min(whole, KEPT_BYTES)
    return chunk + flat + slopes


def _all_logits(shape: ModelShape, setup: Setup) -> int:
    """Behind learned tokens rows go through the model one by one, and their probabilities are kept in fp32; of the row
    whose backward is made there are also the gradients of all its logits, and of the learned ones in both formats.
    """
    longest = max(setup.lengths)
    row = setup.learned_of(longest) * (SINGLE + setup.number) + (longest + setup.before) * setup.number
    return shape.vocab * (setup.learned * SINGLE + row)


def passing(shape: ModelShape, setup: Setup) -> int:
    """What the backward of one layer holds beside what was kept: five tensors as wide as the MLP inside; of attention
    the gradients of both sides of its softmax, and what goes in and out laid side by side; of the norms three in fp32.

    Compiled kernels make neither softmax nor norms anew, and of the tensors as wide as the MLP one less.
    """
    widest = max(one.inputs * one.used for layer in shape.layers for one in layer.linears)
    heads = 3 * shape.heads * shape.key_width + 4 * shape.kv_heads * shape.key_width
    inside, exact = (4, 0) if setup.takes_kernels else (5, 3 * SINGLE)
    numbers = setup.tokens * (inside * widest + 2 * shape.hidden + heads) + 2 * kept_scores(shape, setup)
    return numbers * setup.number + exact * setup.tokens * shape.hidden
