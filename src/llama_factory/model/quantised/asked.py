"""How the base's linear layers are to be quantised while it is loaded: as the keys ask, and as adapters were trained.

In: `run.model.quantization`, and the notes beside adapters. Out: an `Asked`, or None; a letter where an adapter that
began with LoftQ would stand on another base than its own. It imports neither torch nor the packages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.config.bits import method_for
from llama_factory.errors import InputError
from llama_factory.model import fingerprint
from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config import Run

PLAIN = "16/32 bit"
LOFTQ = "loftq_init"
COMPUTED_IN = "quantised_from"
"""In a note: the number format of the weights that were quantised, and of what they stand for."""
OFF = "quantised_off"
"""In a note: `Rounded.off`."""
EXTRA = 'pip install "llama-factory[quant]"'


@dataclass(frozen=True, slots=True)
class Asked:
    """How many bits, by which method. For 4 bits of bitsandbytes alone: kind, nf4 or fp4; double, scales in 8 bits."""

    bits: int
    method: str
    kind: str = "nf4"
    double: bool = True

    @property
    def name(self) -> str:
        """As a person says it."""
        return f"{self.bits} bit ({self.method}{', ' + self.kind if self._in_four else ''})"

    def note(self) -> Mapping[str, Any]:
        """The keys that ask for this, as a note beside trained weights keeps them."""
        keys: dict[str, Any] = {"quantization_bit": self.bits, "quantization_method": self.method}
        return keys | ({"quantization_type": self.kind, "double_quantization": self.double} if self._in_four else {})

    @property
    def _in_four(self) -> bool:
        return self.method == "bitsandbytes" and self.bits == 4


def in_note(method: Mapping[str, Any]) -> Asked | None:
    """The same out of the note beside trained weights; None for those trained on a base as it is."""
    bits = method.get("quantization_bit")
    if not isinstance(bits, int):
        return None
    kind, double = method.get("quantization_type", "nf4"), bool(method.get("double_quantization", True))
    return Asked(bits, str(method.get("quantization_method", "?")), str(kind), double)


@dataclass(frozen=True, slots=True)
class Rounded:
    """The base that an adapter which began with LoftQ stands on. dtype: the number format of what was quantised.

    off: by layer, how far rounding took its weight, as a share of the weight's length.
    """

    folder: Path
    asked: Asked
    dtype: str
    off: Mapping[str, float]


def rounded_base(folders: Sequence[Path]) -> Rounded | None:
    """Where one of these adapters began with LoftQ. Two such make up for the same rounding, and are refused."""
    found = []
    for folder in folders:
        born = fingerprint.read(folder)
        method = {} if born is None else born.method
        asked = in_note(method)
        if asked is not None and loftq_in(method):
            dtype, off = method.get(COMPUTED_IN, "float32"), method.get(OFF, {})
            found.append(Rounded(folder, asked, str(dtype), {str(name): float(share) for name, share in off.items()}))
    if len(found) > 1:
        raise InputError("model.loftq-twice", where=", ".join(str(one.folder) for one in found), count=len(found))
    return found[0] if found else None


def loftq_in(method: Mapping[str, Any]) -> bool:
    """Whether the note beside trained weights says that they make up for the rounding of their base."""
    return method.get(LOFTQ) is True


def require_base(folders: Sequence[Path], here: Asked | None) -> None:
    """Refuse adapters that began with LoftQ on a base that is quantised in another way, or not at all."""
    rounded = rounded_base(folders)
    if rounded is not None and rounded.asked != here:
        keys = ", ".join(f"`{key}: {str(value).lower()}`" for key, value in rounded.asked.note().items())
        values = {"trained": rounded.asked.name, "here": here.name if here else PLAIN, "keys": keys}
        raise InputError("model.loftq-other-base", where=rounded.folder, **values)


def differing(folders: Sequence[Path], here: Asked | None) -> list[Finding]:
    """Adapters that were trained beside the base in other bits than it has here."""
    found = []
    for folder in folders:
        born = fingerprint.read(folder)
        trained = None if born is None else in_note(born.method)
        if born is not None and trained != here:
            keys = {"quantization_bit": "null"} if trained is None else trained.note()
            values = {
                "trained": trained.name if trained else PLAIN, "here": here.name if here else PLAIN,
                "keys": ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items()),
            }  # fmt: skip
            found.append(Finding("model.other-quantisation-trained", "note", str(folder), values))
    return found


def asked_by(run: Run) -> Asked | None:
    keys = run.model.quantization
    if keys.quantization_bit is None:
        return None
    method = keys.quantization_method or method_for(keys.quantization_bit)
    return Asked(keys.quantization_bit, method, keys.quantization_type, keys.double_quantization)
