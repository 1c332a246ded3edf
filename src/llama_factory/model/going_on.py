"""An adapter that is trained further keeps the settings that it was made with: keys that say otherwise do nothing.

In: a run, and the folders of its base and its adapters. Out: findings that name each such key that was written down,
beside what the adapter says. Read from adapter_config.json and the headers of the weights; torch is loaded only where
these name other layers than the key does. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.config.sections.method import PROMPTS
from llama_factory.errors import InputError
from llama_factory.model import adapters, fingerprint
from llama_factory.model import audit as model_audit
from llama_factory.model.locate import Folders
from llama_factory.model.quantised.asked import LOFTQ, loftq_in
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config import Run

Settings = Mapping[str, Any]
"""What adapter_config.json says."""


def _lora(said: Settings) -> dict[str, Any]:
    return {
        "lora_rank": said.get("r"),
        "lora_alpha": said.get("lora_alpha"),
        "lora_dropout": said.get("lora_dropout"),
        "lora_target": _words(said.get("target_modules")),
        "additional_target": _words(said.get("modules_to_save") or ()),
        "lora_bias": "lora_only" if said.get("lora_bias") else "none",
        "use_rslora": bool(said.get("use_rslora")),
        "use_dora": bool(said.get("use_dora")),
        "pissa_init": False,  # a start, and this one has begun
        LOFTQ: False,
    }


def _oft(said: Settings) -> dict[str, Any]:
    return {
        "oft_rank": said.get("r"),
        "oft_block_size": said.get("oft_block_size"),
        "oft_target": _words(said.get("target_modules")),
        "module_dropout": said.get("module_dropout"),
    }


def _prompts(said: Settings) -> dict[str, Any]:
    kind = said.get("encoder_reparameterization_type")
    return {
        "num_virtual_tokens": said.get("num_virtual_tokens"),
        "prompt_init_text": "",  # a start, and these have begun
        "encoder_reparameterization_type": None if kind is None else str(kind).lower(),
        "encoder_hidden_size": said.get("encoder_hidden_size"),
        "prefix_projection": said.get("prefix_projection"),
    }


OWN: Mapping[str, Callable[[Settings], dict[str, Any]]] = {
    "lora": _lora, "oft": _oft, **dict.fromkeys(sorted(PROMPTS), _prompts)
}  # fmt: skip
"""An adapter's settings under the names of our keys, by `finetuning_type`; None where it says nothing."""

TARGETS = ("lora_target", "oft_target")


def kept(said: Settings, folder: Path) -> dict[str, Any]:
    """The settings of the adapter in `folder` that it says something about, under the names of our keys.

    What it makes up for stays with it, and stands in its note alone: peft's file has no word for it.
    """
    found = OWN[str(said["peft_type"]).lower()](said)
    born = fingerprint.read(folder)
    if LOFTQ in found:
        found[LOFTQ] = born is not None and loftq_in(born.method)
    return {key: value for key, value in found.items() if value is not None}


def audit(run: Run, folders: Folders) -> list[Finding]:
    """What the run says about the adapter that it trains further, and is not so."""
    if not run.trains_further:
        return []
    folder = folders.adapters[-1]
    said, asked = adapters.settings(folder), run.method.finetuning_type
    kind = str(said["peft_type"]).lower()
    if kind != asked:
        where = run.where("finetuning_type") or str(folder)
        return [Finding("model.adapter-other-method", "error", where, {"found": kind, "asked": asked})]
    wrong = [
        f"`{key}: {_shown(run.value(key))}` ({_shown(value)})"
        for key, value in kept(said, folder).items()
        if key in run.given and run.value(key) is not None and not _same(run, folders.base, key, value)
    ]
    return [Finding("model.adapter-keeps-its-own", "warning", str(folder), {"keys": ", ".join(wrong)})] if wrong else []


def _same(run: Run, base: Path, key: str, value: Any) -> bool:
    """Whether the key says what the adapter does; names of layers are compared by the layers that they mean."""
    if key == "lora_alpha":
        return bool(run.method.lora.alpha == value)
    asked = run.value(key)
    if key == "additional_target":
        entries = model_audit.plain_entries(base)
        return model_audit.inside(entries, asked) == model_audit.inside(entries, value)
    if key not in TARGETS:
        return bool(asked == value)
    entries = model_audit.plain_entries(base)
    one, other = ([entry.key for entry in entries if model_audit.takes(entry, words)] for words in (asked, value))
    return one == other != [] or _mean_the_same(run, base, key, asked, value)


def _mean_the_same(run: Run, base: Path, key: str, asked: Sequence[str], value: Sequence[str]) -> bool:
    """The same of the model itself, whose parts may have other names than its files."""
    model = model_audit.without_weights(run, base)
    if model is None:
        return False
    try:
        return _meant(model, asked, key) == _meant(model, value, key)
    except InputError:  # the model does not have what one of them names
        return False


def _meant(model: nn.Module, words: Sequence[str], key: str) -> set[str]:
    from llama_factory.model.methods.targets import matches_any, targets_of

    targets = targets_of(model, tuple(words), [], key=key, embeddings=key == "lora_target")
    return {name for name, _ in model.named_modules() if matches_any(name, targets)}


def _words(said: Any) -> tuple[str, ...] | None:
    """peft writes a list of names, one regular expression, or its own word for all of them."""
    if said is None or said == "all-linear":
        return None if said is None else ("all",)
    return (said,) if isinstance(said, str) else tuple(said)


def _shown(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value) or "-"
