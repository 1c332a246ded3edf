"""What leans on other libraries' private parts or mends their slips: one function each, with the reason.

Every function here has a test that fails when upstream no longer needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.oft.layer import OFTRotationModule
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from transformers import PreTrainedModel


def backbone(base: PreTrainedModel) -> nn.Module:
    """Everything below the head: `base_model`, which is public.

    transformers 5.18: Llama4ForCausalLM says that its base is called `language_model` but keeps it in
    `model`, so that `base_model` (and `get_decoder()`) return the whole model, head and all.
    """
    inner: nn.Module = base.base_model
    if inner is base:
        inner = base.get_submodule("model")
    return inner


def softmax_backward(grad: Tensor, softmax: Tensor) -> Tensor:
    """The gradient before a softmax over the last axis, from the one after it and the softmax itself.

    torch has it as one pass over the numbers, but only under a private name; by public ones it takes three.
    """
    return torch._softmax_backward_data(grad, softmax, -1, softmax.dtype)


def gradients(y: Tensor, leaves: Sequence[Tensor], dy: Tensor) -> tuple[Tensor, ...]:
    """What `torch.autograd.grad(y, leaves, dy)` gives, to the bit.

    Told what came back for y, torch imports its symbolic shapes, and with them half a second of sympy.
    """
    return torch.autograd.grad((y * dy).sum(), leaves)


def silu_backward_(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient before a silu, from the one after it and the silu's input, written into `grad`.

    torch has it as one pass over the numbers, but no public name for it.
    """
    dx: Tensor = torch.ops.aten.silu_backward.grad_input(grad, x, grad_input=grad)
    return dx


def can_lay_out() -> bool:
    """Whether this torch can bring a weight into the order of oneDNN, the library of its matrix products."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")  # type: ignore[no-untyped-call]


def weight_laid_out(weight_OI: Tensor, rows: int) -> Tensor:
    """The weight in the order in which oneDNN multiplies with it, for so many rows.

    torch does this for its own compiler, by private names. A public product brings the weight into that order anew
    each time.
    """
    weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI, rows)
    return weight


def linear_laid_out(x_TI: Tensor, weight: Tensor, onto_TO: Tensor | None = None) -> Tensor:
    """x W', and what it is added onto, with a weight of `weight_laid_out`: a new tensor, rounded once."""
    if onto_TO is None:
        y_TO: Tensor = torch.ops.mkldnn._linear_pointwise(x_TI, weight, None, "none", [], "")
    else:
        y_TO = torch.ops.mkldnn._linear_pointwise.binary(x_TI, onto_TO, weight, None, "add")
    return y_TO


def build_linear_with(config: LoraConfig, layer: type[nn.Module]) -> None:
    """Let peft build `layer` for every `nn.Linear` that this configuration adapts.

    peft documents it (developer guide, "Custom models") under a private name, as an experimental interface.
    """
    config._register_custom_module({nn.Linear: layer})


def prefers_sdpa(base: PreTrainedModel) -> bool:
    """Whether transformers would choose `sdpa` for this type when nothing is asked for.

    No public name tells an `eager` that was chosen for want of `sdpa` from one that the user chose.
    """
    return bool(base._supports_sdpa)


def drop_rotations(model: nn.Module, share: float) -> None:
    """Let each block of every OFT rotation turn nothing with this probability, drawn in each forward of training.

    peft 0.21 builds `oft_dropout` for its `module_dropout` and never calls it (tuners/oft/layer.py, `Linear.forward`).
    A block of zeros is the identity, so rows of its weight are left out where it becomes a rotation.
    """
    from peft.tuners.oft.layer import OFTRotationModule

    for module in model.modules():
        if isinstance(module, OFTRotationModule):
            module._cayley_batch = _Dropping(module, share)


class _Dropping:
    """In place of one rotation's `_cayley_batch`."""

    def __init__(self, module: OFTRotationModule, share: float) -> None:
        self._turn = type(module)._cayley_batch
        self._module = module
        self._share = share

    def __call__(self, weight_BE: Tensor, *settings: object) -> Tensor:
        if self._module.training:
            kept_B1 = torch.rand(weight_BE.shape[0], 1, device=weight_BE.device) >= self._share
            weight_BE = weight_BE * kept_B1
        turned: Tensor = self._turn(self._module, weight_BE, *settings)
        return turned


def token_rows(model: nn.Module) -> list[TrainableTokensLayer]:
    """peft's layers in which the rows of some tokens learn; of an embedding and a head that share a weight, both."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    return [module for module in model.modules() if isinstance(module, TrainableTokensLayer)]


def compute_rows_apart(layer: TrainableTokensLayer) -> None:
    """Let the layer compute its rows beside the frozen ones.

    peft 0.21 copies the whole weight in every forward to put some rows into it, and its backward makes a gradient for
    all of the weight, of which it keeps these rows (tuners/trainable_tokens/layer.py, `get_merged_weights`).
    """
    layer.forward_adapters = RowsApart(layer)


class RowsApart:
    """In place of one layer's `forward_adapters`."""

    def __init__(self, layer: TrainableTokensLayer) -> None:
        self._whole = type(layer).forward_adapters
        self._layer = layer

    def __call__(self, x: Tensor, active: list[str], *args: object, **given: object) -> Tensor:
        found = learned_rows(self._layer)
        if found is None or args or given:
            whole: Tensor = self._whole(self._layer, x, active, *args, **given)
            return whole
        ids_K, rows_KD = found
        base = self._layer.get_base_layer()
        out: Tensor = base(x)
        if isinstance(base, nn.Linear):
            return out.index_copy(-1, ids_K, (x @ rows_KD.to(x.dtype).t()).to(out.dtype))
        at_K = x[..., None] == ids_K
        scale = self._layer._get_embed_scale()
        rows = nn.functional.embedding(at_K.int().argmax(-1), rows_KD.to(out.dtype))
        rows = rows if scale is None else rows * scale.to(rows.dtype)
        return torch.where(at_K.any(-1)[..., None], rows, out)


def learned_rows(layer: TrainableTokensLayer) -> tuple[Tensor, Tensor] | None:
    """Ids and rows of the one adapter that is at work; None where there is none, or it is in the weight already."""
    active = [name for name in layer.active_adapters if name in layer.trainable_tokens_delta]
    if layer.disable_adapters or layer.merged or len(active) != 1:
        return None
    rows_KD: Tensor = layer.trainable_tokens_delta[active[0]]
    return torch.tensor(layer.token_indices[active[0]], device=rows_KD.device), rows_KD


def without_bitsandbytes(package: str, module: str) -> ModuleType:
    """`module` of `package`, without what the package's own first lines import.

    galore-torch 1.0 and apollo-torch 1.0.3 import their 8-bit optimizers, and with them bitsandbytes, before anything
    else. Nothing here uses those, they run on CUDA alone, and bitsandbytes costs a second of every start.
    """
    found = find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(package)
    kept = sys.modules.get(package)
    if kept is None:
        empty = ModuleType(package)
        empty.__path__ = list(found.submodule_search_locations)
        sys.modules[package] = empty
    try:
        return import_module(f"{package}.{module}")
    finally:
        if kept is None:
            del sys.modules[package]


ROTATES = "apply_rotary_pos_emb"


def rotating(model: nn.Module) -> list[ModuleType]:
    """The modules of transformers in which this model's layers look up how queries and keys are rotated.

    transformers lets it be exchanged by a kernel from a hub alone; the function is looked up by its name in each call.
    """
    named = dict.fromkeys(type(module).__module__ for module in model.modules())
    found = [sys.modules[name] for name in named if name.startswith("transformers.") and name in sys.modules]
    return [module for module in found if callable(getattr(module, ROTATES, None))]


def rotate_with(namespace: ModuleType, ours_for: Callable[[Callable[..., Any]], Callable[..., Any] | None]) -> bool:
    """Put what `ours_for` makes of the function into its place, once; whether there is ours now."""
    theirs = getattr(namespace, ROTATES)
    if getattr(theirs, "ours", False):
        return True
    ours = ours_for(theirs)
    if ours is None:
        return False
    ours.ours = True  # type: ignore[attr-defined]
    setattr(namespace, ROTATES, ours)
    return True
