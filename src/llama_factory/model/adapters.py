"""What of a model is trained, and trained adapters put back on their base.

`attach` decides, in place, which parameters learn: new LoRA weights, the last or first layers, or all. `open`
puts finished LoRA adapters on a base after comparing the base with the one that they were trained on.
LoRA is peft's, injected into the model: the module keeps its class, and the files are what other tools read.

In: a loaded module and the method's settings, or adapter folders. Out: the same module, and what was done.
Deliberately not here: fp32 masters (the trainer keeps them) and merging (`export`).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, ProofError, nearest
from llama_factory.model import fingerprint, weights
from llama_factory.model.load import brief
from llama_factory.records import Finding

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import nn

    from llama_factory.config import Run

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Attached:
    """The names that learn, as in `module.named_parameters()`, how many numbers that is, and what to tell."""

    trainable: tuple[str, ...]
    trainable_count: int
    total_count: int
    said: tuple[Finding, ...]


def attach(model: nn.Module, method: Any, *, compute_dtype: str, seed: int, fused: bool = False) -> Attached:
    """Make trainable what `method` (`run.method`) asks for; the rest is frozen.

    New weights are drawn from `seed` alone, whatever was drawn before, and stand in `compute_dtype`.
    fused: LoRA layers compute in one piece (`model/lora.py`).
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    kind = str(method.finetuning_type)
    if kind == "lora":
        said = _lora(model, method.lora, compute_dtype, seed, fused)
    elif kind == "freeze":
        said = _freeze(model, method.freeze)
    else:
        said = []
        for parameter in model.parameters():
            parameter.requires_grad_(True)
    return _counted(model, kind, said)


def strengths(model: nn.Module) -> dict[str, float]:
    """By what each active adapter is multiplied, by the name of its layer: weights alone do not say that."""
    from peft.tuners.lora import LoraLayer

    layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer))
    return {f"{name}:{active}": layer.scaling[active] for name, layer in layers for active in layer.active_adapters}


def look(model: nn.Module, method: Any) -> None:
    """Raise what `attach` would about names and numbers of layers. `model` needs no weights for that."""
    if method.finetuning_type == "lora":
        _targets(model, tuple(method.lora.lora_target), [])
    elif method.finetuning_type == "freeze":
        _freeze(model, method.freeze)


def open(
    model: nn.Module,
    folders: Path | Sequence[Path],
    base_folder: Path,
    *,
    trainable: bool = False,
    fused: bool = False,
) -> Attached:
    """Put the adapters of `folders`, added together, on `model`, which was loaded from `base_folder`.

    An adapter made here knows its base's weights by hash, and another base is refused; one from elsewhere
    is taken with a notice. trainable: go on training, which takes exactly one adapter. fused: as in `attach`.
    """
    listed = [folders] if isinstance(folders, Path) else list(folders)
    if trainable and len(listed) != 1:
        raise InputError("model.one-adapter-to-train", where="adapter_name_or_path", count=len(listed))
    said: list[Finding] = []
    configs = [_config(folder, said) for folder in listed]
    for folder in listed:
        said += check_base(folder, base_folder)
    _inject(model, listed, configs, trainable, fused)
    return _counted(model, "adapter", said)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The module as if it had no adapters, for as long as the block lasts; then all is as it was."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer) and not layer.disable_adapters]
    learned = [(value, value.requires_grad) for value in model.parameters()]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for value, learns in learned:  # switching adapters also says whether they learn
            value.requires_grad_(learns)


def put_back(model: nn.Module, folder: Path) -> None:
    """The values of the adapter in `folder` into the adapter that `model` was trained with."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS), adapter_name="default")


def check_base(folder: Path, base_folder: Path) -> list[Finding]:
    """Refuse a base that the adapter was not trained on; a notice where nobody can know."""
    born = fingerprint.read(folder)
    if born is None:
        return [Finding("model.adapter-from-elsewhere", "note", str(folder))]
    found = fingerprint.weights(base_folder)
    if found != born.base_weights:
        raise InputError(
            "model.other-base",
            where=folder,
            base=born.base,
            expected=born.base_weights[:12],
            given=base_folder,
            found=found[:12],
        )
    if fingerprint.config(base_folder) != born.base_config:
        return [Finding("model.other-base-config", "warning", str(base_folder), {"adapter": str(folder)})]
    return []


def linear_names(model: nn.Module) -> list[str]:
    """Full names of all linear layers but the output head."""
    head = _head_name(model)
    return [name for name, module in model.named_modules() if _is_linear(module) and name != head]


# ---- lora


def _lora(model: nn.Module, settings: Any, compute_dtype: str, seed: int, fused: bool) -> list[Finding]:
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    from llama_factory.model import lora

    said: list[Finding] = []
    targets = _targets(model, tuple(settings.lora_target), said)
    rank = int(settings.lora_rank)
    alpha = int(settings.alpha)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(_is_conv1d(module) for module in model.modules()),
    )
    if fused:
        lora.use_fused(config, model)
    inject_adapter_in_model(config, cast(Any, model))
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, compute_dtype)
    for name, parameter in sorted(_lora_parameters(model)):
        # kaiming_uniform with a = sqrt(5) is uniform within 1 / sqrt(fan_in): peft's own start, drawn here from
        # a generator of our own so that the same seed gives the same adapter whatever ran before.
        if ".lora_A." in name:
            bound = 1 / math.sqrt(parameter.shape[1])
            values = torch.empty(parameter.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
        else:
            values = torch.zeros(parameter.shape, dtype=torch.float32)
        parameter.data = values.to(device=parameter.device, dtype=dtype)
        parameter.requires_grad_(True)
    return said


def _lora_parameters(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in model.named_parameters() if ".lora_A." in name or ".lora_B." in name]


def _targets(model: nn.Module, asked: tuple[str, ...], said: list[Finding]) -> list[str]:
    """Names for peft, which matches the end of a module's name: short ones where these cannot mean the head."""
    linear = linear_names(model)
    if not linear:
        raise InputError("model.nothing-linear", where="lora_target", found=type(model).__name__)
    head = _head_name(model)
    ends = sorted({name.rpartition(".")[2] for name in linear})
    if asked == ("all",):
        _say_experts(model, said)
        return linear if head is not None and head.rpartition(".")[2] in ends else ends
    choices = [*ends, *([head] if head else [])]
    for word in asked:
        if word == "all":
            raise InputError("model.all-among-others", where="lora_target", found=", ".join(asked))
        if _matches(word, linear):
            continue
        if head is not None and _matches(word, [head]):
            if _is_tied(model):
                raise InputError("model.lora-on-tied-head", where="lora_target", found=word)
            continue
        close = nearest(word, choices)
        raise InputError("model.no-such-target", where="lora_target", found=word, known=", ".join(ends), nearest=close)
    return sorted(asked)


def _matches(word: str, names: Iterable[str]) -> bool:
    return any(name == word or name.endswith(f".{word}") for name in names)


def _say_experts(model: nn.Module, said: list[Finding]) -> None:
    """Experts that are one stacked tensor are no linear layers: `all` leaves them alone, and says so."""
    stacked = [(name, p.numel()) for name, p in model.named_parameters() if p.dim() == 3 and "expert" in name]
    if stacked:
        total = sum(p.numel() for p in model.parameters())
        share = f"{100 * sum(count for _, count in stacked) / total:.0f} %"
        said.append(Finding("model.experts-not-adapted", "warning", "lora_target", {"share": share}))


# ---- freeze


def _freeze(model: nn.Module, settings: Any) -> list[Finding]:
    prefix, count = _layers(model)
    number = int(settings.freeze_trainable_layers)
    if number == 0 or abs(number) > count:
        raise InputError("model.freeze-layers", where="freeze_trainable_layers", found=number, layers=count)
    chosen = range(count - number, count) if number > 0 else range(-number)
    inside = re.compile(re.escape(prefix) + r"\.(\d+)\.(.+)")
    named = dict(model.named_parameters(remove_duplicate=False))
    in_layers = {name: found for name in named if (found := inside.fullmatch(name))}
    words = tuple(settings.freeze_trainable_modules)
    if words != ("all",):
        _known_parts(words, [found[2] for found in in_layers.values()], "freeze_trainable_modules")
    for name, found in in_layers.items():
        if int(found[1]) in chosen and (words == ("all",) or any(_has_part(found[2], word) for word in words)):
            named[name].requires_grad_(True)
    outside = [name for name in named if name not in in_layers]
    extra = tuple(settings.freeze_extra_modules)
    _known_parts(extra, outside, "freeze_extra_modules")
    for name in outside:
        if any(_has_part(name, word) for word in extra):
            named[name].requires_grad_(True)
    return []


def _layers(model: nn.Module) -> tuple[str, int]:
    """Name and length of the list of layers: the one as long as the configuration says."""
    from torch import nn

    count = int(cast(Any, model).config.get_text_config().num_hidden_layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, count
    raise InputError("model.no-layers", where="freeze_trainable_layers", found=type(model).__name__, layers=count)


def _has_part(name: str, word: str) -> bool:
    return f".{word}." in f".{name}."


def _known_parts(words: Sequence[str], names: Sequence[str], key: str) -> None:
    known = sorted({part for name in names for part in name.split(".") if part not in ("weight", "bias")})
    known = [part for part in known if not part.isdigit()]
    for word in words:
        if not any(_has_part(name, word) for name in names):
            close = nearest(word, known)
            raise InputError("model.no-such-part", where=key, found=word, known=", ".join(known), nearest=close)


# ---- trained adapters


def _config(folder: Path, said: list[Finding]) -> LoraConfig:
    """The adapter's configuration, once its files are known to be whole and of the kind that is built."""
    from peft import LoraConfig

    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        raise InputError("model.not-an-adapter", where=folder, file=ADAPTER_CONFIG)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in weights.PICKLES)
        if pickled:
            raise InputError("model.pickled-weights", where=folder, found=", ".join(pickled[:3]))
        raise InputError("model.not-an-adapter", where=folder, file=ADAPTER_WEIGHTS)
    if not weights.header(folder / ADAPTER_WEIGHTS):
        raise InputError("model.empty-adapter", where=folder / ADAPTER_WEIGHTS)
    try:
        given: dict[str, Any] = json.loads(file.read_text("utf-8"))
        kind = given["peft_type"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError("model.broken-config", where=file, found=brief(error)) from error
    if kind != "LORA":
        raise InputError("model.adapter-kind", where=folder, found=kind)
    whole = [name for name in ("modules_to_save", "trainable_token_indices") if given.get(name)]
    if whole:
        raise InputError("model.adapter-with-whole-modules", where=folder, found=", ".join(whole))
    known = {name for name in given if name in LoraConfig.__dataclass_fields__}
    newer = sorted(name for name in set(given) - known if given[name])
    if newer:
        said.append(Finding("model.adapter-newer", "warning", str(file), {"found": ", ".join(newer)}))
    try:
        return LoraConfig(**{name: given[name] for name in known})
    except (ValueError, TypeError) as error:
        raise InputError("model.broken-config", where=file, found=brief(error)) from error


def _inject(
    model: nn.Module, folders: Sequence[Path], configs: Sequence[LoraConfig], trainable: bool, fused: bool
) -> None:
    """Each adapter under a name of its own, all of them active: their changes add up."""
    from peft import inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    from llama_factory.model import lora

    names = [f"adapter_{number}" if number else "default" for number in range(len(folders))]
    for name, folder, config in zip(names, folders, configs, strict=True):
        config.inference_mode = not trainable
        if fused:
            lora.use_fused(config, model)
        try:
            with warnings.catch_warnings():
                # A second adapter beside the first is what was asked for.
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")
                inject_adapter_in_model(config, cast(Any, model), adapter_name=name)
            result = set_peft_model_state_dict(model, load_file(folder / ADAPTER_WEIGHTS), adapter_name=name)
        except (ValueError, RuntimeError, KeyError) as error:
            raise InputError("model.adapter-does-not-fit", where=folder, found=brief(error)) from error
        own = [key for key in result.missing_keys if f".{name}." in key or key.endswith(f".{name}")]
        if own or result.unexpected_keys:
            found = ", ".join([*own, *result.unexpected_keys][:3])
            raise InputError("model.adapter-does-not-fit", where=folder, found=found)
    for module in model.modules():
        if len(folders) > 1 and hasattr(module, "lora_A") and hasattr(module, "set_adapter"):
            layer = cast(Any, module)
            layer.set_adapter([name for name in names if name in layer.lora_A])
    for parameter_name, parameter in model.named_parameters():
        learns = trainable and (".lora_" in parameter_name or ".modules_to_save." in parameter_name)
        parameter.requires_grad_(learns)


# ---- both


def _counted(model: nn.Module, kind: str, said: list[Finding]) -> Attached:
    trainable = {name: value.numel() for name, value in model.named_parameters() if value.requires_grad}
    total = sum(value.numel() for value in model.parameters())
    if kind != "adapter" and not trainable:
        raise ProofError("model.nothing-trainable", found=kind)
    count = sum(trainable.values())
    values: Mapping[str, Any] = {
        "trainable": f"{count:,}", "total": f"{total:,}", "share": f"{100 * count / total:.2f} %", "method": kind
    }  # fmt: skip
    if trainable:
        said.append(Finding("model.trainable", "note", "", values))
    return Attached(tuple(trainable), count, total, tuple(said))


def _is_conv1d(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def _is_linear(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear) or _is_conv1d(module)


def _head_name(model: nn.Module) -> str | None:
    head: nn.Module | None = cast(Any, model).get_output_embeddings()
    for name, module in model.named_modules():
        if head is not None and module is head:
            return str(name)
    return None


def _is_tied(model: nn.Module) -> bool:
    head, embedding = cast(Any, model).get_output_embeddings(), cast(Any, model).get_input_embeddings()
    return bool(head is not None and embedding is not None and head.weight is embedding.weight)


def settings_for_note(run: Run) -> dict[str, Any]:
    """The method's settings as the note beside the trained weights keeps them."""
    kind = str(run.method.finetuning_type)
    chosen: dict[str, Any] = {"stage": str(run.method.stage), "finetuning_type": kind}
    section = {"lora": run.method.lora, "freeze": run.method.freeze}.get(kind)
    if section is not None:
        chosen.update(section.model_dump(mode="json"))
    return chosen
