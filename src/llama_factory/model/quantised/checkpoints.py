"""Checkpoints whose weights lie there in few bits: GPTQ, AWQ, and what bitsandbytes has saved.

In: what config.json says, the headers of the weights. Out: a `Form` that is known to be whole, or a letter before
anything is loaded: bits that do not fill the tensors, groups that do not divide a layer's inputs (gptqmodel makes
such checkpoints and fails when it opens them), layers that are listed as left alone and are not.
`arguments` lets transformers load it, by the one backend through which gradients flow on any processor.

GPTQ, Frantar et al. 2022 (arXiv 2210.17323); AWQ, Lin et al. 2023 (arXiv 2306.00978).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory import machine
from llama_factory.errors import InputError, LlamaFactoryError, SeveralErrors
from llama_factory.model import weights
from llama_factory.model.weights import Entry
from llama_factory.records import Finding

if TYPE_CHECKING:
    from llama_factory.config import Run

BITS = {"gptq": (2, 3, 4, 8), "awq": (4,), "bitsandbytes": (4, 8)}
PACKAGES = {"gptq": ("gptqmodel", "optimum"), "awq": ("gptqmodel", "optimum"), "bitsandbytes": ("bitsandbytes",)}
INSTALL = {
    "gptq": "pip install gptqmodel==7.6.0 optimum==2.3.0",
    "awq": "pip install gptqmodel==7.6.0 optimum==2.3.0",
    "bitsandbytes": 'pip install "llama-factory[quant]"',
}
PACKED, SCALES, ORDER = ".qweight", ".scales", ".g_idx"
LEFT_ALONE = ("ignore_layers", "modules_to_not_convert", "llm_int8_skip_modules")
"""Under one of these names a configuration lists the layers that are not quantised."""


@dataclass(frozen=True)
class Form:
    """method: gptq, awq or bitsandbytes. group_size: weights to a scale, -1 for a whole row, None where none is said.

    desc_act: columns in the order of their activations. ignore_layers: what the checkpoint says it left alone.
    """

    method: str
    bits: int
    group_size: int | None
    desc_act: bool
    ignore_layers: tuple[str, ...]

    @property
    def name(self) -> str:
        group = "" if self.group_size is None else f", group_size {self.group_size}"
        return f"{self.bits} bit ({self.method}{group})"


@dataclass(frozen=True)
class Layer:
    """One quantised layer, by the shapes of what is stored of it."""

    name: str
    inputs: int
    outputs: int
    groups: int


def read(said: Mapping[str, Any], where: Path) -> Form | None:
    """The form that config.json names; None for plain weights. A form that nothing here opens is a letter."""
    config = said.get("quantization_config")
    if config is None:
        return None
    if not isinstance(config, dict):
        raise InputError("model.broken-config", where=where / "config.json", found="quantization_config")
    method = str(config.get("quant_method", "?")).lower()
    if method not in BITS:
        raise InputError("model.quantised", where=where, found=method)
    bits = _bits(config, method)
    if bits not in BITS[method]:
        found = f"{method} with bits = {bits}, where {', '.join(map(str, BITS[method]))} are known"
        raise InputError("model.quantised-broken", where=where, found=found)
    group = config.get("group_size", config.get("q_group_size"))
    if method != "bitsandbytes" and (not isinstance(group, int) or (group < 1 and group != -1)):
        raise InputError("model.quantised-broken", where=where, found=f"group_size = {group}")
    ignored: list[object] = next((config[key] for key in LEFT_ALONE if isinstance(config.get(key), list)), [])
    return Form(method, bits, group, bool(config.get("desc_act", False)), tuple(map(str, ignored)))


def _bits(config: Mapping[str, Any], method: str) -> Any:
    if method == "bitsandbytes":
        return 4 if config.get("load_in_4bit") else 8 if config.get("load_in_8bit") else None
    return config.get("bits", config.get("w_bit"))


def look(form: Form, folder: Path) -> list[Finding]:
    """Compare the form with the headers of the weights; raises where they contradict each other."""
    if form.method == "bitsandbytes":
        return []
    entries = weights.entries(folder)
    layers = list(layers_in(entries, form, folder))
    if not layers:
        raise _broken(folder, f"it says {form.method}, and no tensor ends in {PACKED}")
    for layer in layers:
        _whole(layer, form, entries, folder)
    plain = {key.rpartition(".")[0] for key in entries if key.endswith(".weight")}
    packed = {layer.name for layer in layers}
    wrong = sorted(name for name in packed if any(_names(word, name) for word in form.ignore_layers))
    if wrong:
        raise _broken(folder, f"{wrong[0]} is listed as left alone and is quantised")
    lost = [word for word in form.ignore_layers if not any(_names(word, name) for name in plain)]
    # A tied head has no tensor of its own, and is there all the same.
    lost = [word for word in lost if word != "lm_head"]
    if lost:
        return [Finding("model.quantised-names-nothing", "note", str(folder), {"found": ", ".join(lost)})]
    return []


def layers_in(entries: Mapping[str, Entry], form: Form, where: Path) -> Iterator[Layer]:
    """Every quantised layer, from the headers: GPTQ packs a column's weights into numbers of 32 bits, AWQ a row's."""
    for key, entry in entries.items():
        if not key.endswith(PACKED):
            continue
        name = key.removesuffix(PACKED)
        scales = entries.get(name + SCALES)
        if scales is None or len(entry.shape) != 2 or len(scales.shape) != 2:
            raise _broken(where, f"{name} has no scales of two sides")
        packed = entry.shape[0] * 32
        inputs = packed // form.bits if form.method == "gptq" else entry.shape[0]
        if form.method == "gptq" and packed % form.bits:
            raise _broken(where, f"{key} holds {packed} bits a column, which {form.bits} do not divide")
        yield Layer(name, inputs, scales.shape[1], scales.shape[0])


def _whole(layer: Layer, form: Form, entries: Mapping[str, Entry], folder: Path) -> None:
    group = layer.inputs if form.group_size in (-1, None) else int(form.group_size or 0)
    if layer.inputs % group:
        raise _broken(folder, f"group_size {group} does not divide the {layer.inputs} inputs of {layer.name}")
    if layer.groups != layer.inputs // group:
        raise _broken(folder, f"{layer.name} has {layer.groups} groups of {group} for {layer.inputs} inputs")
    packed = entries[layer.name + PACKED].shape[1] * (1 if form.method == "gptq" else 32 // form.bits)
    if packed != layer.outputs:
        raise _broken(folder, f"{layer.name} has scales for {layer.outputs} outputs and weights for {packed}")
    order = entries.get(layer.name + ORDER)
    if form.method == "gptq" and form.desc_act and (order is None or order.elements != layer.inputs):
        raise _broken(folder, f"desc_act is true, and {layer.name} has no order of its columns ({ORDER})")


def compare(run: Run, form: Form | None, where: str) -> None:
    """Refuse keys of `quantization_config` that say something else than the checkpoint: they describe it."""
    keys = run.model.quantised_checkpoint
    asked = {key: getattr(keys, key) for key in type(keys).model_fields if getattr(keys, key) not in (None, ())}
    if form is None:
        if asked:
            said = ", ".join(f"{key}: {value}" for key, value in asked.items())
            raise InputError("model.not-quantised", where=run.where(next(iter(asked))) or where, keys=said)
        return
    own = {
        "quant_method": form.method, "bits": form.bits, "group_size": form.group_size, "desc_act": form.desc_act,
        "ignore_layers": form.ignore_layers,
    }  # fmt: skip
    wrong: list[LlamaFactoryError] = []
    for key, value in asked.items():
        if set(value) != set(form.ignore_layers) if key == "ignore_layers" else value != own[key]:
            values = {"key": key, "asked": _shown(value), "own": _shown(own[key])}
            wrong.append(InputError("model.other-quantisation", where=run.where(key) or where, **values))
    if wrong:
        raise wrong[0] if len(wrong) == 1 else SeveralErrors(wrong)


def arguments(form: Form, device: str) -> dict[str, Any]:
    """For `from_pretrained`. GPTQ's default kernel for processors fixes at its first forward whether it can train."""
    from transformers import AwqConfig, GPTQConfig

    given: dict[str, Any] = {"device_map": {"": device}}
    if form.method == "bitsandbytes":
        machine.hush()
    if form.method == "gptq":
        given["quantization_config"] = GPTQConfig(bits=form.bits, backend="torch")
    if form.method == "awq":
        given["quantization_config"] = AwqConfig(bits=form.bits, backend="torch_awq")
    return given


def as_plain(entries: Mapping[str, Entry], form: Form | None, where: Path) -> list[Entry]:
    """What the files would list if nothing were quantised: for whoever counts by names and shapes."""
    if form is None or form.method == "bitsandbytes":
        return list(entries.values())
    layers = list(layers_in(entries, form, where))
    stored = {f"{layer.name}{end}" for layer in layers for end in (PACKED, SCALES, ORDER, ".qzeros")}
    made = [
        Entry(f"{layer.name}.weight", entries[layer.name + PACKED].file, "F16", (layer.outputs, layer.inputs))
        for layer in layers
    ]
    return [*(entry for key, entry in entries.items() if key not in stored), *made]


def _names(word: str, name: str) -> bool:
    return f".{word}." in f".{name}."


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _broken(where: Path, found: str) -> InputError:
    return InputError("model.quantised-broken", where=where, found=found)
