"""From a folder to a module that computes, with every way it can be wrong found and named first.

In: a folder, a dtype, a device. Out: a causal language model in evaluation mode, all of whose weights came
from the folder's safetensors files. transformers fills in weights that a file lacks at random and only warns;
here that is an error.

A base in fewer bits is made or opened by `quantised`. Deliberately not here: anything that trains (`adapters`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError, LlamaFactoryError, MachineError, SeveralErrors, nearest
from llama_factory.machine import is_out_of_memory
from llama_factory.model import weights
from llama_factory.model.quantised import checkpoints, loading
from llama_factory.model.quantised.asked import Asked, asked_by
from llama_factory.model.vocabulary import Growth, grow
from llama_factory.model.window import Longer, lengthen
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from llama_factory.config import Run

ATTENTION = {"auto": None, "disabled": "eager", "eager": "eager", "sdpa": "sdpa", "fa2": None}
"""What transformers is told; training then takes a kernel of ours in place of `sdpa` (`attention`, `varlen`)."""

ARCHITECTURE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "intermediate_size", "head_dim",
)  # fmt: skip


def _silent(finding: Finding) -> None:
    """Nobody listens."""


def load(
    folder: Path,
    *,
    dtype: str,
    device: str = "cpu",
    flash_attn: str = "auto",
    trust_remote_code: bool = False,
    quantise: Asked | None = None,
    say: Callable[[Finding], None] = _silent,
    dropout: float | None = None,
    longer: Longer | None = None,
    grown: Growth | None = None,
) -> nn.Module:
    """The folder's model in `dtype` on `device`, evaluation mode, nothing trainable decided yet.

    quantise: keep its linear layers in fewer bits, and compute in `dtype`.
    dropout, longer: of the model's own layers, and a longer window, in place of what config.json says.
    grown: rows for new tokens, beyond those in the files.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    way = loading.way_of(folder, check_folder(folder), quantise)
    config = load_config(folder, trust_remote_code=trust_remote_code)
    weights.entries(folder)
    _causal(folder, config, trust_remote_code)
    if longer is not None:
        lengthen(config, longer)
    if dropout is not None:
        say(set_dropout(config, dropout))
    try:
        with quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                attn_implementation=ATTENTION[flash_attn],
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **way.arguments(dtype, device),
            )
    except SafetensorError as error:
        raise InputError("model.not-safetensors", where=folder) from error
    except ImportError as error:
        raise MachineError("model.library-missing", where=folder, found=brief(error)) from error
    except (ValueError, OSError, RuntimeError, MemoryError, KeyError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise MachineError("model.no-memory", where=folder) from error
        raise InputError("model.will-not-load", where=folder, found=brief(error)) from error
    _whole(folder, info, say)
    model = way.finish(model, dtype, device)
    if grown is not None:
        with quiet():
            grow(model, grown)
    for finding in way.told(model, dtype):
        say(finding)
    return model.eval()


def load_for(
    run: Run,
    folder: Path,
    *,
    dtype: str,
    device: str = "cpu",
    quantised: bool = True,
    say: Callable[[Finding], None] = _silent,
    dropout: float | None = None,
    longer: Longer | None = None,
    grown: Growth | None = None,
) -> nn.Module:
    """`load` with what the run says about the model; keys that describe it are compared first.

    quantised: False leaves out what `quantization_bit` asks for, as merging must.
    """
    code = run.model.trust_remote_code
    compare_architecture(run.model.architecture, load_config(folder, trust_remote_code=code), where=str(folder))
    checkpoints.compare(run, checkpoints.read(check_folder(folder), folder), str(folder))
    return load(
        folder,
        dtype=dtype,
        device=device,
        flash_attn=run.model.flash_attn,
        trust_remote_code=code,
        quantise=asked_by(run) if quantised else None,
        say=say,
        dropout=dropout,
        longer=longer,
        grown=grown,
    )


def dropouts(config: PretrainedConfig) -> dict[str, float]:
    """The shares of dropout that a model's configuration names; those of a head for classes are another matter."""
    said = config.get_text_config().to_dict()
    names = [name for name in said if ("dropout" in name or name.endswith("_pdrop")) and "classifier" not in name]
    return {name: float(said[name]) for name in names if isinstance(said[name], (int, float))}


def set_dropout(config: PretrainedConfig, share: float) -> Finding:
    """Give the model's own dropout this share, all that its configuration names."""
    names = [name for name in dropouts(config) if not name.startswith("summary_")]
    if not names:
        raise InputError("model.no-dropout", where="model_dropout", type=config.model_type)
    for name in names:
        setattr(config.get_text_config(), name, share)
    values = {"found": ", ".join(names), "value": f"{share:g}"}
    return Finding("model.dropout-set", "note", "model_dropout", values)


def skeleton(folder: Path, *, trust_remote_code: bool = False) -> nn.Module:
    """The folder's model without its weights, on torch's meta device: its parts and their names, nothing to compute."""
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(folder, trust_remote_code=trust_remote_code)
    _causal(folder, config, trust_remote_code)
    with quiet(), torch.device("meta"):
        return cast("nn.Module", AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code))


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The folder's configuration as transformers reads it, or a letter."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    said = check_folder(folder)
    _known_type(folder, said, trust_remote_code)
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except (StrictDataclassError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise InputError("model.broken-config", where=folder / "config.json", found=brief(error)) from error


def check_folder(folder: Path) -> Mapping[str, Any]:
    """What `config.json` says, once the folder is known to hold a model and not something else."""
    weight_files = weights.files(folder)
    file = folder / "config.json"
    if not file.is_file():
        raise InputError("model.no-config", where=folder, weights=weight_files[0].name)
    try:
        said = json.loads(file.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError("model.broken-config", where=file, found=str(error)) from error
    if not isinstance(said, dict):
        raise InputError("model.broken-config", where=file, found=type(said).__name__)
    return said


def compare_architecture(section: object, config: PretrainedConfig, *, where: str = "") -> None:
    """Refuse architecture keys that say something else than the model: they describe, they never change it.

    section: `run.model.architecture`, each attribute None or what the user wrote.
    """
    wrong: list[LlamaFactoryError] = []
    for key in ARCHITECTURE:
        asked = getattr(section, key)
        if asked is None:
            continue
        own = _own(config, key)
        if own != asked:
            found = "-" if own is None else own
            wrong.append(InputError("model.other-architecture", where=where, key=key, asked=asked, own=found))
    if wrong:
        raise wrong[0] if len(wrong) == 1 else SeveralErrors(wrong)


def _own(config: PretrainedConfig, key: str) -> object:
    if key == "model_type":
        return config.model_type
    text = config.get_text_config()
    value = getattr(text, key, None)
    if value is None and key == "head_dim":
        return text.hidden_size // text.num_attention_heads
    if value is None and key == "num_key_value_heads":
        return text.num_attention_heads
    return value


def _known_type(folder: Path, said: Mapping[str, Any], trust_remote_code: bool) -> None:
    from transformers import CONFIG_MAPPING

    own_code = "AutoConfig" in (said.get("auto_map") or {})
    model_type = said.get("model_type")
    if own_code and (trust_remote_code or model_type in CONFIG_MAPPING):
        return
    if own_code:
        raise InputError("model.needs-own-code", where=folder, found=model_type)
    if not isinstance(model_type, str):
        raise InputError("model.no-model-type", where=folder / "config.json")
    if model_type not in CONFIG_MAPPING:
        close = nearest(model_type, list(CONFIG_MAPPING))
        raise InputError("model.unknown-type", where=folder / "config.json", found=model_type, nearest=close)


def _causal(folder: Path, config: PretrainedConfig, trust_remote_code: bool) -> None:
    """A model that predicts the next token; encoders and translators are something else."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if own_code and not trust_remote_code and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise InputError("model.needs-own-code", where=folder, found=config.model_type)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not own_code:
        raise InputError("model.not-causal", where=folder, found=config.model_type)


def _whole(folder: Path, info: Mapping[str, Any], say: Callable[[Finding], None]) -> None:
    missing = sorted(info["missing_keys"])
    other = sorted(info["mismatched_keys"], key=lambda item: str(item[0]))
    if missing:
        raise InputError("model.missing-weights", where=folder, count=len(missing), found=", ".join(missing[:5]))
    if other:
        key, found, expected = other[0]
        raise InputError(
            "model.other-shapes", where=folder, count=len(other), key=key, found=tuple(found), expected=tuple(expected)
        )
    unused = sorted(info["unexpected_keys"])
    if unused:
        values = {"count": len(unused), "found": ", ".join(unused[:3])}
        say(Finding("model.unused-weights", "warning", str(folder), values))


def brief(error: Exception) -> str:
    """What another library says, on one line and not longer than a letter bears."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 300 else text[:300] + " …"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """transformers' bars and tables off: what matters of them is said in our own words."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
