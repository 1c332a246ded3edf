"""The quantised linear layers of a loaded model: which they are, how many weights they stand for, what they take.

In: a module. Out: layers by name, and counts. Known by the names of their classes, so that no package is imported to
find out that nothing is quantised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

CLASSES = frozenset({
    ("bitsandbytes", "Linear8bitLt"), ("bitsandbytes", "Linear4bit"), ("hqq", "HQQLinear"),
    ("gptqmodel", "BaseQuantLinear"),
})  # fmt: skip
"""Package and class; all of gptqmodel's inherit from its one. peft's adapters around them have the same class names."""


def is_quantised(module: nn.Module) -> bool:
    return not CLASSES.isdisjoint((kind.__module__.partition(".")[0], kind.__name__) for kind in type(module).__mro__)


def quantised(model: nn.Module) -> dict[str, Any]:
    """The quantised layers by name; empty for a plain model. An adapter around a layer is not one itself."""
    return {name: module for name, module in model.named_modules() if is_quantised(module)}


def weights_of(layer: Any) -> int:
    """How many weights a quantised layer stands for: what it stores are fewer numbers, packed."""
    return int(layer.in_features) * int(layer.out_features)


def count(model: nn.Module) -> int:
    """The model's weights, those that lie there packed counted as what they stand for."""
    packed = quantised(model)
    inside = {id(value) for layer in packed.values() for value in layer.parameters() if value.dim() > 1}
    plain = sum(value.numel() for value in model.parameters() if id(value) not in inside)
    return plain + sum(map(weights_of, packed.values()))


def size(model: nn.Module) -> int:
    """Bytes of all that the model keeps: parameters, buffers, scales and offsets."""
    seen: dict[int, int] = {}
    for value in _tensors(model):
        seen[value.data_ptr()] = value.numel() * value.element_size()
    return sum(seen.values())


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    import torch

    yield from model.parameters()
    yield from model.buffers()
    for layer in quantised(model).values():
        beside = [getattr(layer, "meta", None) or {}, vars(getattr(layer, "state", None) or object)]
        states = [getattr(cast(Any, value), "quant_state", None) for value in layer.parameters()]
        while states:
            state = states.pop()
            if state is not None:
                states.append(state.state2)
                beside.append({"absmax": state.absmax, "code": state.code, "offset": state.offset})
        for held in beside:
            yield from (value for value in held.values() if isinstance(value, torch.Tensor))
