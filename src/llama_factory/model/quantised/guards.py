"""What goes wrong with quantised weights without an error, each with the guard against it.

- In 4 bits bitsandbytes repacks a layer on processors with AVX512_BF16 at its first forward without gradients, and
  every gradient through it is 0 from then on (0.50.2, `Linear4bit.forward`, `_convert_weight_packed_for_cpu`):
  `keep_gradients`, before the first forward of a model that will be trained. It costs half of the speed of answers,
  so a model that only answers is left alone.
- What is merged into a quantised layer is rounded to its few values, and nearly all of an adapter is lost:
  `refuse_merge`; `export` merges into the base in full precision, and `refuse_export` where there is none.
- Quantised weights cannot learn: `refuse_learning`, for checkpoints; `config.rules` for what is asked of a plain one.

A gradient of exactly 0 from any other cause stops the run in `trainer`, as does a step that changes nothing. The traps
of several processes and of ONNX that go with these belong to what is not built yet, and are guarded there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, ProofError
from llama_factory.model.quantised import layers

if TYPE_CHECKING:
    from torch import nn


def keep_gradients(model: nn.Module) -> int:
    """Let no forward repack a layer; how many layers that concerns. Call before the first one."""
    found = 0
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
            found += 1
    return found


def rounds_inputs(model: nn.Module) -> bool:
    """Whether a layer rounds what it reads: LLM.int8 does, and decides by all rows together which columns it spares."""
    return any(type(module).__name__ == "Linear8bitLt" for module in layers.quantised(model).values())


@contextmanager
def rounding_by_row(model: nn.Module) -> Iterator[None]:
    """No column is spared for as long as the block lasts: what a row gives then does not depend on its company."""
    states = [layer.state for layer in layers.quantised(model).values() if type(layer).__name__ == "Linear8bitLt"]
    kept = [state.threshold for state in states]
    try:
        for state in states:
            state.threshold = 0.0
        yield
    finally:
        for state, threshold in zip(states, kept, strict=True):
            state.threshold = threshold


def refuse_merge(adapted: Mapping[str, Any]) -> None:
    """adapted: peft's layers, by name."""
    for name, layer in adapted.items():
        base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
        if layers.is_quantised(base):
            raise ProofError("export.merge-into-quantised", where=name, found=type(base).__name__)


def refuse_export(said: Mapping[str, Any], where: object) -> None:
    """said: the base's config.json."""
    if "quantization_config" in said:
        config = said["quantization_config"]
        found = config.get("quant_method", "?") if isinstance(config, dict) else "?"
        raise InputError("export.quantised-base", where=where, found=found)


def refuse_beside(model: nn.Module, *, learns_bias: bool, dora: bool, whole: Sequence[str]) -> None:
    """What cannot be had beside quantised layers. whole: names of modules that would learn as they are."""
    packed = layers.quantised(model)
    if not packed:
        return
    form = type(next(iter(packed.values()))).__name__
    inside = [name for name in whole if any(f"{layer}.".startswith(f"{name}.") for layer in packed)]
    by_gptqmodel = any(kind.__name__ == "BaseQuantLinear" for layer in packed.values() for kind in type(layer).__mro__)
    for key, asked, found in (
        ("additional_target", bool(inside), ", ".join(inside)),
        ("lora_bias", learns_bias, "lora_only"),
        ("use_dora", dora and by_gptqmodel, "true"),
    ):
        if asked:
            raise InputError("model.quantised-beside", where=key, key=key, found=found, form=form)


def refuse_learning(kind: str, form: str, where: object) -> None:
    """kind: `finetuning_type`. form: of the checkpoint."""
    if kind != "lora":
        raise InputError("model.quantised-base-learns", where=where, found=kind, form=form)
