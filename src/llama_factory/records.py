"""The values that several rooms share.

What lives here is frozen, holds numpy's arrays and knows nothing else, and says nothing about how it was made:
rows become records in `data`, records become tokens in `render`, tokens become steps in `data`
again, steps are spent in `trainer`. A type that only one room needs lives in that room.

Axes in names: `T` tokens laid end to end, `R` rows (documents).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role = Literal["system", "user", "assistant", "tool"]
Severity = Literal["error", "warning", "note"]

FROM_TEMPLATE = -1
"""In `Rendered.message_T`: this token was written by the template, not by a message."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from; printed as `train.jsonl:812`.

    `row` is the line for files with one object a line, and the number of the record, from 1, for the rest.
    """

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}:{self.row}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant asks for. `arguments` is the parsed JSON object; nothing in it is trusted."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. All of it is untrusted text: whatever it says, it never becomes a control token.

    `weight` None leaves the choice to the rule of the stage (the assistant's turns are trained);
    0.0 keeps the turn in the prompt without training it.
    `reasoning` are the thoughts before an answer, without marks around them; None: nothing is known about thoughts,
    "": the assistant answered without thinking.
    `tool_calls` may stand beside content. `name` and `tool_call_id` say whose result a tool's turn is.
    """

    role: Role
    content: str
    weight: float | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What supervised fine-tuning learns from: messages that end with the assistant's.

    `tools`: schemas of the functions that may be called, each `{"type": "function", "function": {...}}`.
    """

    messages: tuple[Message, ...]
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to one prompt, of which `chosen` is the better. `messages` end before the assistant speaks."""

    messages: tuple[Message, ...]
    chosen: Message
    rejected: Message
    origin: Origin
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Labelled:
    """A conversation whose last answer was judged, alone: KTO's rows."""

    conversation: Conversation
    desirable: bool

    @property
    def origin(self) -> Origin:
        return self.conversation.origin


@dataclass(frozen=True, slots=True)
class Text:
    """Text without turns, for pre-training."""

    text: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Classified:
    """A text and the name of its class."""

    text: str
    label: str
    origin: Origin


Record = Conversation | Preference | Labelled | Text | Classified


@dataclass(frozen=True, slots=True)
class MediaSpan:
    """Tokens `start` to `end` of a row stand for one image, sound or film, named by its digest."""

    kind: Literal["image", "audio", "video"]
    start: int
    end: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """One example as the model sees it.

    ids_T: int32 token ids.
    weight_T: float32; how much the loss of predicting token t counts. 0 = only read, never learned.
    message_T: int16; the message that token t came from, or FROM_TEMPLATE.
    """

    text: str
    ids_T: NDArray[np.int32]
    weight_T: NDArray[np.float32]
    message_T: NDArray[np.int16]
    origin: Origin
    media: tuple[MediaSpan, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows laid end to end, without padding: one forward and one backward.

    ids_T: int32 token ids of all rows.
    weight_T: float32; weight of *predicting* token t. The first token of a row always has 0.
    offsets: int64, R+1 long; row r is ids_T[offsets[r]:offsets[r+1]].
    rows: int64, R long; the rows' numbers in their store, for naming them in a message.
    extras: what a model needs beside ids (positions of media, a reference's log-probabilities, ...).
    """

    ids_T: NDArray[np.int32]
    weight_T: NDArray[np.float32]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def lengths_R(self) -> NDArray[np.int64]:
        return self.offsets[1:] - self.offsets[:-1]

    def part(self, rows: slice) -> Batch:
        """Some rows that lie one after the other, without `extras`: views, nothing is copied but the offsets."""
        start, stop = int(self.offsets[rows.start]), int(self.offsets[rows.stop])
        offsets = self.offsets[rows.start : rows.stop + 1] - start
        return Batch(self.ids_T[start:stop], self.weight_T[start:stop], offsets, self.rows[rows])

    def rows_alone(self) -> Iterator[Batch]:
        """Each row in a batch of its own, without `extras`."""
        return (self.part(slice(row, row + 1)) for row in range(self.rows.size))


def within(lengths_R: Sequence[int], budget: int) -> Iterator[slice]:
    """Rows in their order, in groups of at most `budget` tokens; a longer row stands alone."""
    first, tokens = 0, 0
    for row, length in enumerate(lengths_R):
        if row > first and tokens + length > budget:
            yield slice(first, row)
            first, tokens = row, 0
        tokens += length
    if lengths_R:
        yield slice(first, len(lengths_R))


@dataclass(frozen=True, slots=True)
class Step:
    """All that one update of the weights is made of.

    counts: for every named term of the loss, what its sum is divided by. Known before the first
    forward and summed over all micro-batches, so that no split of the step changes the gradient.
    """

    batches: tuple[Batch, ...]
    counts: Mapping[str, float]
    epoch: float

    @property
    def tokens(self) -> int:
        return sum(int(batch.ids_T.size) for batch in self.batches)

    @property
    def rows(self) -> int:
        return sum(int(batch.rows.size) for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found before step 1. The words for `id` stand in `errors.letters`, in both languages."""

    id: str
    severity: Severity
    where: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LinearShape:
    """A matrix (outputs, inputs) of a layer, or a stack of such: `copies` there are, `used` by each token.

    adapts: it is a linear layer of its own, beside which an adapter can stand; stacked experts and routers are not.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    copies: int = 1
    used: int = 1
    adapts: bool = True

    @property
    def parameters(self) -> int:
        return self.copies * (self.inputs + self.bias) * self.outputs


@dataclass(frozen=True, slots=True)
class LayerShape:
    """`count` layers that are alike. vectors: numbers in norms and the like, in one of them."""

    count: int
    linears: tuple[LinearShape, ...]
    vectors: int

    @property
    def parameters(self) -> int:
        """Of one of them."""
        return self.vectors + sum(one.parameters for one in self.linears)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """How large the parts of a decoder are; read from its configuration alone, without weights.

    hidden: width of a token's state; key_width, value_width: of a head. outside: numbers beside the layers, the
    embedding and the head: the last norm, learned positions. window: tokens that it was trained to see, 0: unknown.
    """

    type: str
    hidden: int
    heads: int
    kv_heads: int
    key_width: int
    value_width: int
    intermediate: int
    vocab: int
    tied: bool
    gated: bool
    layers: tuple[LayerShape, ...]
    outside: int
    window: int = 0

    @property
    def depth(self) -> int:
        return sum(layer.count for layer in self.layers)

    @property
    def head(self) -> int:
        """Numbers of the matrix from states to logits, which a tied model shares with its embedding."""
        return self.vocab * self.hidden

    @property
    def in_layers(self) -> int:
        return sum(layer.count * layer.parameters for layer in self.layers)

    @property
    def parameters(self) -> int:
        return self.in_layers + self.outside + self.head * (1 if self.tied else 2)

    @property
    def active(self) -> int:
        """Weights that a token meets in the layers' products: of experts only those that it is sent to."""
        return sum(layer.count * one.inputs * one.outputs * one.used for layer in self.layers for one in layer.linears)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the plan said of a run, and what the run then took. Bytes and seconds; None: not known (yet).

    memory: the most that the process holds in RAM; before: what it held when that was said; train_s: all steps of this
    process; checkpointing: activations are computed twice.
    """

    memory: int
    train_s: float | None
    measured_memory: int | None = None
    measured_s: float | None = None
    before: int = 0
    checkpointing: bool = False
