"""What of a model is trained, and trained adapters put back on their base.

`attach` decides, in place, which parameters learn: new LoRA weights, the last or first layers, or all. `open`
puts finished LoRA adapters on a base after comparing the base with the one that they were trained on.
LoRA is peft's, injected into the model: the module keeps its class, and the files are what other tools read.

In: a loaded module and the method's settings, or adapter folders. Out: the same module, and what was done.
Deliberately not here: fp32 masters (the trainer keeps them) and merging (`export`).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, ProofError
from llama_factory.model import fingerprint, vocabulary, weights
from llama_factory.model.load import brief
from llama_factory.model.methods import METHODS, Start, loftq, pissa
from llama_factory.model.methods.lora import TRAINED
from llama_factory.model.quantised import layers
from llama_factory.model.quantised.asked import asked_by
from llama_factory.records import Finding

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn

    from llama_factory.config import Run
    from llama_factory.config.sections.method import Method

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
"""Of every key in peft's files."""
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Starts of LoRA for which peft takes the adapter out of the base: saved as they are, they need that other base."""

DO_NOT_ADD = ("modules_to_save", "use_dora", "trainable_token_indices")
"""Keys of adapter_config.json: modules trained whole, lengths, rows of new tokens take the place of what was there."""

OPENED: Mapping[str, str] = {
    "LORA": "LoraConfig",
    "OFT": "OFTConfig",
    "PREFIX_TUNING": "PrefixTuningConfig",
    "PROMPT_TUNING": "PromptTuningConfig",
    "P_TUNING": "PromptEncoderConfig",
}
"""peft's word for a kind of adapter, and its class for the settings of that kind."""

LEARNS = (".lora_", ".oft_R.", ".modules_to_save.", ".trainable_tokens_delta.")
"""Parts of names of an adapter's own weights."""


@dataclass(frozen=True)
class Attached:
    """module: what is trained from now on. trainable: the names that learn, as in its `named_parameters()`, and how
    many numbers that is. said: what to tell.
    """

    module: nn.Module
    trainable: tuple[str, ...]
    trainable_count: int
    total_count: int
    said: tuple[Finding, ...]


def attach(model: nn.Module, method: Method, start: Start) -> Attached:
    """Make trainable what `method` (`run.method`) asks for; the rest is frozen."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    training = model.training
    made = METHODS[method.finetuning_type].attach(model, method, start)
    made.module.train(training)  # new parts, such as dropout, in the mode of the rest
    return _counted(made.module, method.finetuning_type, made.said)


def strengths(model: nn.Module) -> dict[str, float]:
    """By what each active adapter is multiplied, by the name of its layer: weights alone do not say that."""
    from peft.tuners.lora import LoraLayer

    layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer))
    found = {f"{name}:{active}": layer.scaling[active] for name, layer in layers for active in layer.active_adapters}
    return {name: strength for name, strength in found.items() if not name.endswith(f":{pissa.START}")}


def look(model: nn.Module, method: Method) -> None:
    """Raise what `attach` would about names and numbers of layers. `model` needs no weights for that."""
    METHODS[method.finetuning_type].look(model, method)


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
    is taken with a notice. trainable: the last one goes on learning. fused: as in `attach`.
    """
    listed = [folders] if isinstance(folders, Path) else list(folders)
    said: list[Finding] = []
    configs = _checked(listed, base_folder, said)
    for folder, config in zip(listed, configs, strict=True):
        _have_rows(model, folder, config)
    loftq.compare(model, listed, base_folder)
    if len(configs) == 1 and configs[0].is_prompt_learning:
        return _counted(_prompted(model, listed[0], configs[0], trainable), "adapter", said)
    names = [*(f"adapter_{number}" for number in range(1, len(listed))), TRAINED] if listed else []
    _inject(model, listed, configs, names, fused)
    _activate(model, names, learns=trainable)
    return _counted(model, "adapter", said)


def open_beneath(
    attached: Attached, folders: Sequence[Path], base_folder: Path, *, method: str, fused: bool = False
) -> Attached:
    """Put finished adapters beside a new one that `attach` made: they stay as they are and add up with it."""
    said = list[Finding]()
    configs = _checked(folders, base_folder, said, beside=1)
    loftq.compare(attached.module, folders, base_folder)
    names = [f"adapter_{number}" for number in range(1, len(folders) + 1)]
    _inject(attached.module, folders, configs, names, fused)
    _activate(attached.module, [*names, TRAINED], learns=True)
    said += [finding for finding in attached.said if finding.id != "model.trainable"]
    return _counted(attached.module, method, said)


def check_chain(folders: Sequence[Path]) -> None:
    """Refuse an adapter that was trained on top of others where these are not all given."""
    given = {fingerprint.adapter(folder) for folder in folders}
    for folder in folders:
        born = fingerprint.read(folder)
        missing = [one for one in born.beneath if one["adapter"] not in given] if born else []
        if born and missing:
            chain = ",".join([*(one["name"] for one in born.beneath), str(folder)])
            values = {"count": len(born.beneath), "found": missing[0]["name"], "chain": chain}
            raise InputError("model.adapter-needs-others", where=folder, **values)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The module as if it had no adapters, for as long as the block lasts; then all is as it was."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    if prompt_learning(model):
        around = cast(Any, model)
        around.off = True
        try:
            yield
        finally:
            around.off = False
        return
    kinds = (BaseTunerLayer, ModulesToSaveWrapper)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds) and not layer.disable_adapters]
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
    if prompt_learning(model):
        from llama_factory.model.prompted import Prompted, put

        put(cast(Prompted, model), folder, ADAPTER_WEIGHTS)
        return
    _load(model, folder, TRAINED)


def learned_tokens(model: nn.Module) -> int:
    """How many learned tokens the model puts before every row, out of its window."""
    return int(cast(Any, model).active_peft_config.num_virtual_tokens) if prompt_learning(model) else 0


def prompt_learning(model: nn.Module) -> bool:
    """Whether the module is one around the model, with learned tokens before every row."""
    return hasattr(model, "prompt_encoder") and hasattr(model, "off")


def is_prompt(folder: Path) -> bool:
    """Whether the adapter in `folder` is tokens and no change of weights."""
    return bool(_config(folder, []).is_prompt_learning)


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


# ---- trained adapters


def settings(folder: Path) -> dict[str, Any]:
    """What adapter_config.json says, once the files are known to be whole and of a kind that is built."""
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
    if kind not in OPENED:
        raise InputError("model.adapter-kind", where=folder, found=kind, known=", ".join(OPENED))
    begun = str(given.get("init_lora_weights", True)).lower()
    if begun.startswith(CHANGE_THE_BASE):
        raise InputError("model.adapter-on-changed-base", where=folder, found=begun)
    return given


def _config(folder: Path, said: list[Finding]) -> PeftConfig:
    """The same as peft takes it. What this version of peft does not know is said and left out."""
    import peft

    given, file = settings(folder), folder / ADAPTER_CONFIG
    config_class = getattr(peft, OPENED[given["peft_type"]])
    known = {name for name in given if name in config_class.__dataclass_fields__}
    newer = sorted(name for name in set(given) - known if given[name])
    if newer:
        said.append(Finding("model.adapter-newer", "warning", str(file), {"found": ", ".join(newer)}))
    try:
        return cast("PeftConfig", config_class(**{name: given[name] for name in known}))
    except (ValueError, TypeError) as error:
        raise InputError("model.broken-config", where=file, found=brief(error)) from error


def _prompted(model: nn.Module, folder: Path, config: PeftConfig, trainable: bool) -> nn.Module:
    """The model with the learned tokens of `folder` before every row."""
    from llama_factory.model.methods import prompts
    from llama_factory.model.prompted import Prompted, put

    config.inference_mode = not trainable
    module: Prompted = cast(Any, prompts.around(model, config))
    try:
        missing = put(module, folder, ADAPTER_WEIGHTS)
    except (ValueError, RuntimeError, KeyError) as error:
        raise InputError("model.adapter-does-not-fit", where=folder, found=brief(error)) from error
    if missing:
        raise InputError("model.prompts-without-encoder", where=folder, found=missing[0])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trainable and name.startswith("prompt_encoder."))
    module.eval()
    return module


def _checked(folders: Sequence[Path], base_folder: Path, said: list[Finding], *, beside: int = 0) -> list[PeftConfig]:
    """The configurations of adapters that belong on this base, and add up. beside: how many more will be there."""
    configs = [_config(folder, said) for folder in folders]
    check_together(folders, base_folder, said, beside=beside)
    return configs


def check_together(folders: Sequence[Path], base_folder: Path, said: list[Finding], *, beside: int = 0) -> None:
    """Refuse adapters that do not belong on this base, do not add up, or need others. Reads their files alone."""
    given = [settings(folder) for folder in folders]
    count = len(given) + beside
    for folder, config in zip(folders, given, strict=True):
        said += check_base(folder, base_folder)
        found = [f"`{key}`" for key in DO_NOT_ADD if config.get(key)]
        if found and count > 1:
            raise InputError("model.adapter-does-not-add", where=folder, found=", ".join(found), count=count)
    if count > 1 and any(config["peft_type"] != "LORA" for config in given):
        kinds_found = ", ".join(dict.fromkeys(str(config["peft_type"]) for config in given))
        raise InputError("model.adapters-do-not-add", where="adapter_name_or_path", found=kinds_found)
    check_chain(folders)


def _inject(
    model: nn.Module, folders: Sequence[Path], configs: Sequence[PeftConfig], names: Sequence[str], fused: bool
) -> None:
    """Each adapter under a name of its own, with its values."""
    from peft import LoraConfig, OFTConfig, inject_adapter_in_model

    from llama_factory.model import lora, upstream
    from llama_factory.model.methods import oft

    for name, folder, config in zip(names, folders, configs, strict=True):
        config.inference_mode = True
        if fused and isinstance(config, LoraConfig):
            lora.use_fused(config, model)
        try:
            with warnings.catch_warnings():
                # A second adapter beside the first is what was asked for.
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")
                inject_adapter_in_model(config, cast(Any, model), adapter_name=name)
            result = _load(model, folder, name)
        except (ValueError, RuntimeError, KeyError) as error:
            raise InputError("model.adapter-does-not-fit", where=folder, found=brief(error)) from error
        if isinstance(config, OFTConfig):
            oft.finish(model, config.module_dropout)
        for rows in upstream.token_rows(model):
            upstream.compute_rows_apart(rows)
        there = _second_names(model)
        own = [
            key for key in result.missing_keys
            if (f".{name}." in key or key.endswith(f".{name}")) and key not in there
        ]  # fmt: skip
        if own or result.unexpected_keys:
            found = ", ".join([*own, *result.unexpected_keys][:3])
            raise InputError("model.adapter-does-not-fit", where=folder, found=found)


def _have_rows(model: nn.Module, folder: Path, config: PeftConfig) -> None:
    """Refuse an adapter with rows of tokens that the model has no place for."""
    vocabulary.require_grown(model, vocabulary.for_use([folder]), folder)
    asked: Any = getattr(config, "trainable_token_indices", None) or {}
    ids = [id for some in asked.values() for id in some] if isinstance(asked, dict) else list(asked)
    rows = int(cast(Any, model).config.get_text_config().vocab_size)
    if ids and max(ids) >= rows:
        raise InputError("model.base-not-grown", where=folder, found=rows, rows=max(ids) + 1)


def _second_names(model: nn.Module) -> set[str]:
    """Names of rows of tokens that are the same numbers under another name: of a head that is the embedding too."""
    first = dict(model.named_parameters())
    every = (name for name, _ in model.named_parameters(remove_duplicate=False))
    return {name for name in every if ".trainable_tokens_delta." in name and name not in first}


def _activate(model: nn.Module, names: Sequence[str], *, learns: bool) -> None:
    """All of them are at work, their changes add up in this order; only the trained one may learn."""
    from peft.tuners.lora import LoraLayer

    order = [*names, pissa.START]
    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        if len(names) > 1:
            layer.set_adapter([one for one in order if one in layer.lora_A or one in layer.lora_embedding_A])
    for name, parameter in model.named_parameters():
        own = f".{TRAINED}." in name or name.endswith(f".{TRAINED}")
        parameter.requires_grad_(learns and own and any(part in name for part in LEARNS))
    model.train(model.training)  # new parts, such as dropout, in the mode of the rest


def _load(model: nn.Module, folder: Path, name: str) -> Any:
    """The values of the folder into the adapter of that name. Returns the names that were missing or unknown.

    A model that is not wrapped by peft has names without peft's prefix, and modules that were trained whole are only
    found by those.
    """
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    values = load_file(folder / ADAPTER_WEIGHTS)
    if pissa.has_begun(model) and name == TRAINED:
        values = pissa.parted(values, cast(Any, model).peft_config[name].r)
    if not isinstance(model, PeftModel):
        values = {key.removeprefix(PREFIX): value for key, value in values.items()}
    return set_peft_model_state_dict(model, values, adapter_name=name)


def _counted(model: nn.Module, kind: str, said: list[Finding]) -> Attached:
    trainable = {name: value.numel() for name, value in model.named_parameters() if value.requires_grad}
    total = layers.count(model)
    if kind != "adapter" and not trainable:
        raise ProofError("model.nothing-trainable", found=kind)
    count = sum(trainable.values())
    values: Mapping[str, Any] = {
        "trainable": f"{count:,}", "total": f"{total:,}", "share": f"{100 * count / total:.2f} %", "method": kind
    }  # fmt: skip
    if trainable:
        said.append(Finding("model.trainable", "note", "", values))
    return Attached(model, tuple(trainable), count, total, tuple(said))


def settings_for_note(run: Run) -> dict[str, Any]:
    """The method's settings as the note beside the trained weights keeps them."""
    section = run.method.chosen
    chosen: dict[str, Any] = {"stage": str(run.method.stage), "finetuning_type": str(run.method.finetuning_type)}
    if section is not None:
        chosen.update(section.model_dump(mode="json"))
    quantised = asked_by(run)
    return chosen if quantised is None else {**chosen, **quantised.note()}
