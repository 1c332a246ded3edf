"""LoftQ: LoRA beside a quantised base that begins with what rounding took from each weight.

    W = Q + rest,   y = Q x + s B A x,   s B A begins as the r strongest directions of W - Q

Li et al. 2023 (arXiv 2310.08659), algorithm 1 with one round: Q is the base as it is quantised anyway, so the adapter
stands on a base that everybody can make from the published one. A further round would quantise W - s B A in the place
of W: a base that belongs to this adapter alone. A and B carry the share of s, which peft's own function leaves out.

In: a model with LoRA beside quantised layers, the folder that it was quantised from, from which one weight at a time
is read. Out: the same model, begun so, and how much nearer it is. What is learned belongs on Q: whoever opens it
compares the note beside it (`quantised.asked`), and `export` merges it onto the weights that Q stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, ProofError
from llama_factory.model import weights
from llama_factory.model.methods.directions import strongest
from llama_factory.model.quantised import plain
from llama_factory.model.quantised.asked import COMPUTED_IN, OFF, rounded_base
from llama_factory.model.quantised.layers import is_quantised
from llama_factory.model.weights import Entry
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

ROUNDS = 8
"""Of the fast decomposition. What rounding loses has no few strong directions, and more rounds find little more."""
NOTHING = 1e-6
"""Of a weight's length: what is shorter is noise of float32, and no direction to begin from."""
ALIKE = 0.02
"""Two ways of rounding differ by more than this; the same one on another device, or in another format, by less."""


def begin(model: nn.Module, folder: Path, generator: Generator, trained: str) -> Finding:
    """Give the adapter `trained` its start beside every quantised layer; other layers keep theirs."""
    import torch
    from peft.tuners.lora import LoraLayer

    known = weights.entries(folder)
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    found = [(name, layer) for name, layer in found if trained in layer.lora_A and is_quantised(layer.get_base_layer())]
    if not found:
        raise InputError("model.loftq-nothing", where="lora_target")
    squares = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for name, layer in found:
            squares += torch.tensor(_begin(name, layer, known, generator, trained), dtype=torch.float64) ** 2
    own, before, after = squares.sqrt().tolist()
    values = {"layers": len(found), "before": f"{100 * before / own:.2f}", "after": f"{100 * after / own:.2f}"}
    return Finding("model.loftq-begun", "note", "loftq_init", values)


def note(module: nn.Module, folder: Path) -> dict[str, Any]:
    """What is kept beside the result of the base that it stands on: its number format, and how far rounding took one
    weight, as a share of that weight's length, which tells one way to quantise from another.
    """
    from peft.tuners.lora import LoraLayer

    embedding = cast(Any, module).get_input_embeddings().weight
    adapted = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, LoraLayer))
    names = [name for name, layer in adapted if is_quantised(layer.get_base_layer())]
    off = {name: _off(module, name, folder) for name in names[:1]}
    return {COMPUTED_IN: str(embedding.dtype).removeprefix("torch."), OFF: off}


def compare(module: nn.Module, folders: Sequence[Path], base_folder: Path) -> None:
    """Refuse adapters that began with LoftQ on weights that are rounded in another way, or not at all."""
    rounded = rounded_base(folders)
    if rounded is None:
        return
    for name, off in rounded.off.items():
        here = _off(module, name, base_folder)
        if abs(here - off) > ALIKE * off:
            values = {"trained": f"{100 * off:.3g}", "here": f"{100 * here:.3g}", "dtype": rounded.dtype}
            raise InputError("model.loftq-rounded-otherwise", where=rounded.folder, **values)


def _off(module: nn.Module, name: str, folder: Path) -> float:
    """How far this layer's weight is from that of the files, as a share of its length."""
    import torch

    layer: Any = module.get_submodule(name)
    layer = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    with torch.no_grad():
        weight_OI = (plain.weight_of(layer) if is_quantised(layer) else layer.weight).float()
        own_OI = _original(name, weights.entries(folder), weight_OI)
        return float((own_OI - weight_OI).norm() / own_OI.norm())


def _begin(
    name: str, layer: Any, known: Mapping[str, Entry], generator: Generator, trained: str
) -> tuple[float, float, float]:
    """Lengths (Frobenius) of W, of W - Q, and of W - Q - s B A as it then is, in the adapter's own number format."""
    rounded_OI = plain.weight_of(layer.get_base_layer()).float()
    rest_OI = _original(name, known, rounded_OI) - rounded_OI
    own, before = float((rest_OI + rounded_OI).norm()), float(rest_OI.norm())
    scale, a, b = layer.scaling[trained], layer.lora_A[trained].weight, layer.lora_B[trained].weight
    left_OR, right_RI = strongest(rest_OI, layer.r[trained], ROUNDS, generator, key="loftq_init")
    real_R = (left_OR**2).sum(0) > NOTHING * own  # with both halves at zero a direction would never learn
    a.copy_((right_RI * scale**-0.5).where(real_R[:, None], a.float()))
    b.copy_((left_OR * scale**-0.5).where(real_R, 0.0))
    change_OI = scale * b.float() @ a.float()
    after = float((rest_OI - change_OI).norm())
    if bool(real_R.any()) and not after < before:
        raise ProofError("model.loftq-no-gain", where=name, before=f"{before:.4g}", after=f"{after:.4g}")
    lengths = getattr(layer, "lora_magnitude_vector", {})
    if trained in lengths:  # DoRA's lengths are those of the rows that it begins with
        lengths[trained].weight.copy_((rounded_OI + change_OI).norm(dim=1))
    return own, before, after


def _original(name: str, known: Mapping[str, Entry], rounded_OI: Tensor) -> Tensor:
    """The weight that this layer was quantised from, as the folder has it, in float32 and on the layer's device.

    Some models keep a layer's sides the other way round, or under a name of which only the end is the module's; what
    is far from its own rounded form is another weight.
    """
    entry = _entry(name, known)
    value = weights.tensor(entry).to(rounded_OI.device).float()
    ways: list[Tensor] = [way for way in (value, value.t()) if way.shape == rounded_OI.shape]
    nearest = min(ways, key=lambda way: float((way - rounded_OI).norm()), default=None)
    if nearest is None or not float((nearest - rounded_OI).norm()) < float(nearest.norm()):
        raise InputError("model.loftq-other-weight", where=name, found=entry.key)
    return nearest


def _entry(name: str, known: Mapping[str, Entry]) -> Entry:
    """The tensor of that name; else the only one whose name ends as the module's does."""
    parts = f"{name}.weight".split(".")
    for start in range(len(parts) - 1):
        end = ".".join(parts[start:])
        found = [key for key in known if f".{key}".endswith(f".{end}")]
        if len(found) == 1 and known[found[0]].is_float:
            return known[found[0]]
        if found:
            break
    raise InputError("model.loftq-other-weight", where=name, found="-")
