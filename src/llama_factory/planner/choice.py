"""Which method to take: the best one that fits the memory, the data and the time, and what to change where none fits.

In: a `ModelShape`, a `Setup` to start from, a `Room`. Out: every method at every width of the frozen weights as a
`Way`, one of them chosen, and the cheapest changes. The path is that of the tutorials: much memory, all weights;
some, LoRA; little, quantised weights or a few layers. It writes no configuration and asks no machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llama_factory.planner.memory import Memory, memory
from llama_factory.planner.process import process
from llama_factory.planner.setup import HALF, SINGLE, Setup
from llama_factory.planner.speed import Rates, step_seconds
from llama_factory.records import ModelShape

RESERVE = 0.2
"""Kept free, as the tutorials advise: the lengths of rows differ, and other programs want memory too."""

FEW_ROWS = 5000
"""Below it all weights learn the rows by heart sooner than what is common to them. A judgement, not a measurement."""

WIDTHS = (32, 16, 8, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Room:
    """memory: bytes that may be taken. rates: None where no speed is known.

    tokens: of the whole training, rows: of one epoch; 0 where that is not known.
    """

    memory: float
    rates: Rates | None = None
    tokens: float = 0.0
    rows: int = 0
    hours: float | None = None

    @property
    def usable(self) -> float:
        return self.memory * (1 - RESERVE)


@dataclass(frozen=True, slots=True)
class Way:
    """One method at one width of its frozen weights. total: bytes with the process. hours: of the whole training."""

    name: str
    setup: Setup
    memory: Memory
    total: int
    hours: float | None

    def fits(self, room: Room) -> bool:
        return self.total <= room.usable

    def in_time(self, room: Room) -> bool:
        return room.hours is None or self.hours is None or self.hours <= room.hours


NAMES: Mapping[str, Mapping[str, object]] = {
    "full": {"method": "full"},
    "full, pure_bf16": {"method": "full", "master": HALF, "state": 2 * HALF},
    "lora": {"method": "lora"},
    "oft": {"method": "oft"},
    "freeze": {"method": "freeze"},
}
"""The rows of the table."""

QUALITY: Sequence[tuple[str, int]] = (
    ("full", 32), ("full", 16), ("lora", 32), ("lora", 16), ("oft", 16), ("lora", 8), ("lora", 4), ("freeze", 16),
    ("full, pure_bf16", 16), ("lora", 3), ("lora", 2),
)  # fmt: skip
"""From the best result to the least good one, where data and time allow it. Quantised to 4 bit, LoRA loses little
(Dettmers et al. 2023, arXiv 2305.14314); two layers alone learn less; in bf16 without masters small updates are lost.
"""


def way(shape: ModelShape, base: Setup, room: Room, name: str, bits: int) -> Way | None:
    """None where a method does not exist at that width: what is trained is not quantised. 8 bits are bitsandbytes'."""
    method = str(NAMES[name]["method"])
    if (bits < 16 and method in ("full", "freeze")) or (bits != 16 and name == "full, pure_bf16"):
        return None
    number = SINGLE if bits == 32 else HALF
    setup = replace(_plainly(base, method), bits=bits, each=0.0, rounds=bits == 8, number=number, **NAMES[name])  # type: ignore[arg-type]
    return of(shape, setup, room, name)


def _plainly(base: Setup, method: str) -> Setup:
    """Without what only the method that was asked for has: blocks at a time or put in, a second copy, its own parts."""
    state = 2.0 * base.master if base.active else base.state
    same = base.method == method
    return replace(
        base, method=method, state=state, active=0, before=0, blocks=0, reference=False,
        beside=base.beside if same else 0, modules=base.modules if same else ("all",),
    )  # fmt: skip


def of(shape: ModelShape, setup: Setup, room: Room, name: str = "") -> Way:
    """This very setup."""
    found = memory(shape, setup)
    return Way(name or setup.method, setup, found, found.total + process(setup), hours(shape, setup, room))


def hours(shape: ModelShape, setup: Setup, room: Room) -> float | None:
    if room.rates is None or not room.tokens:
        return None
    steps = room.tokens / (sum(setup.lengths) * setup.micro_batches)
    return steps * step_seconds(shape, setup, room.rates) / 3600


def every_way(shape: ModelShape, base: Setup, room: Room) -> list[list[Way | None]]:
    """A row for each of NAMES, a column for each of WIDTHS."""
    return [[way(shape, base, room, name, bits) for bits in WIDTHS] for name in NAMES]


def choose(
    shape: ModelShape, ways: Iterable[Way], room: Room, runnable: Iterable[tuple[str, int]] = QUALITY
) -> Way | None:
    """The best that fits memory and time and can be trained here. With few rows, adapters come before all weights.

    A way that does not fit as it is may do so with one row at a time, or with checkpointing, which cost only time.
    Computing in fp32 is chosen by no one who has not asked for it: it costs twice the memory and gives little.
    """
    found = {(one.name, one.setup.bits): one for one in ways}
    allowed = set(runnable)
    order = [one for one in QUALITY if one in allowed and one in found and one[1] != 32]
    if 0 < room.rows < FEW_ROWS:
        order.sort(key=lambda one: one[0].startswith("full"))
    for one in order:
        for it in _slower(shape, found[one], room):
            if it.fits(room) and it.in_time(room):
                return it
    return None


def _slower(shape: ModelShape, one: Way, room: Room) -> Iterator[Way]:
    """The same result for less memory, in more time."""
    setup = one.setup
    row = max(setup.lengths)
    single = replace(setup, lengths=(row,), micro_batches=setup.micro_batches * len(setup.lengths))
    for less in (setup, single, replace(setup, checkpointing=True), replace(single, checkpointing=True)):
        yield of(shape, less, room, one.name)


@dataclass(frozen=True, slots=True)
class Change:
    """Keys of a configuration with other values, and what they cost: `id` names the words for it."""

    id: str
    keys: Mapping[str, object]
    way: Way


@dataclass(frozen=True, slots=True)
class Changes:
    """together: no single one is enough; each stands on those before it."""

    each: tuple[Change, ...] = ()
    together: bool = False

    @property
    def keys(self) -> Mapping[str, object]:
        """To be written to make it fit: of single ones the first, else all."""
        taken = self.each if self.together else self.each[:1]
        return {key: value for one in taken for key, value in one.keys.items()}


MOST = 3


def changes(shape: ModelShape, start: Setup, room: Room, *, cutoff: int, quantises: bool) -> Changes:
    """Up to three changes that make it fit, the cheapest first; where no single one does, what it takes together."""
    enough = [one for one in _single(shape, start, room, cutoff, quantises) if one.way.fits(room)]
    if enough:
        return Changes(tuple(enough[:MOST]))
    found: list[Change] = []
    setup = start
    for id in _CHEAPEST:
        best = next((one for one in _single(shape, setup, room, cutoff, quantises) if one.id == id), None)
        if best is None or best.way.total >= of(shape, setup, room).total:
            continue
        found.append(best)
        setup = best.way.setup
        if best.way.fits(room):
            break
    return Changes(tuple(found), together=True)


_CHEAPEST = ("micro-batch", "checkpointing", "half-format", "lora", "four-bit", "cutoff")


def _single(shape: ModelShape, start: Setup, room: Room, cutoff: int, quantises: bool) -> Iterator[Change]:
    """Changes by what they cost: a little time, more time, precision, what is learned, the ends of long rows."""

    def change(id: str, keys: Mapping[str, object], **other: object) -> Change:
        begun = _plainly(start, "lora") if id == "lora" else start
        setup = replace(begun, **other)  # type: ignore[arg-type]
        return Change(id, keys, of(shape, setup, room))

    if len(start.lengths) > 1:
        one = max(start.lengths)
        yield change(
            "micro-batch", {"micro_batch_tokens": one}, lengths=(one,),
            micro_batches=start.micro_batches * len(start.lengths),
        )  # fmt: skip
    if not start.checkpointing:
        yield change("checkpointing", {"gradient_checkpointing": True}, checkpointing=True)
    if start.number == SINGLE and start.cpu is False:
        yield change("half-format", {"bf16": True}, number=HALF, bits=16)
    if start.method in ("full", "freeze"):
        keys = {"finetuning_type": "lora", "lora_rank": start.rank}
        yield change("lora", keys)
    if quantises and start.method in ("lora", "oft") and start.bits >= 16:
        yield change("four-bit", {"quantization_bit": 4}, bits=4, number=HALF)
    if max(start.lengths) >= cutoff // 2 > 0:
        half = tuple(min(length, cutoff // 2) for length in start.lengths)
        yield change("cutoff", {"cutoff_len": cutoff // 2}, lengths=half)
