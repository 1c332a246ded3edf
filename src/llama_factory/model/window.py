"""A longer window: the places of rows beyond what a model was trained to see, squeezed into what it was.

    linear   places divided by the factor, Chen et al. 2023 (arXiv 2306.15595)
    yarn     slow frequencies divided, fast ones kept, Peng et al. 2023 (arXiv 2309.00071)
    llama3   the same with other bounds, as Llama 3.1 was trained

In: what the run asks for, the base's configuration, what adapters remember. Out: the entries of a configuration that
make the window longer. One factor holds for training, chat and export: a whole model has it in config.json, an adapter
in the note beside it. The arithmetic is transformers'.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llama_factory.errors import InputError
from llama_factory.model import fingerprint

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from llama_factory.config import Run

Longer = Mapping[str, Any]
"""`rope_parameters` and `max_position_embeddings`."""

KEY = "rope_scaling"
NOTE = "window"
"""Under this name the note of an adapter has its `Longer`."""

LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}


def for_training(run: Run, base: Path, adapters: Sequence[Path]) -> Longer | None:
    """What a run of `train` computes with: as its adapter remembers, else by `rope_scaling` and `cutoff_len`."""
    asked = run.model.rope_scaling
    if adapters or asked is None:
        return for_use(run, base, adapters)
    text = _text(run, base)
    parameters, window = dict(_plain(text)), int(text.max_position_embeddings)
    kind, factor = parameters.get("rope_type", "default"), math.ceil(run.data.cutoff_len / window)
    if kind == asked and factor <= 1:
        return None  # trained so before, and long enough
    if kind != "default":
        raise InputError("model.rope-scaled-already", where=KEY, found=kind, window=window)
    if factor <= 1:
        raise InputError("model.rope-fits", where=KEY, cutoff=run.data.cutoff_len, window=window)
    parameters |= {"rope_type": asked, "factor": float(factor)}
    if asked != "linear":
        parameters["original_max_position_embeddings"] = window
    if asked == "llama3":
        parameters |= LLAMA3
    return {"rope_parameters": parameters, "max_position_embeddings": window * factor}


def for_use(run: Run, base: Path, adapters: Sequence[Path]) -> Longer | None:
    """What chat and export compute with: as it was trained, whatever is given now."""
    asked = run.model.rope_scaling
    notes = [fingerprint.read(folder) for folder in adapters]
    known = {json.dumps(born.method.get(NOTE), sort_keys=True) for born in notes if born is not None}
    if len(known) > 1:
        raise InputError("model.windows-differ", where="adapter_name_or_path", count=len(known))
    longer: Longer | None = json.loads(known.pop()) if known else None
    if asked is not None:
        own = longer["rope_parameters"] if longer is not None else _plain(_text(run, base))
        if own.get("rope_type") != asked:
            raise InputError("model.rope-untrained", where=KEY, asked=asked, found=own.get("rope_type", "default"))
    return longer


def lengthen(config: PretrainedConfig, longer: Longer) -> None:
    """Let a configuration say so, before a model is made of it."""
    text = config.get_text_config()
    text.rope_parameters = dict(longer["rope_parameters"])
    text.max_position_embeddings = longer["max_position_embeddings"]


def of_module(model: nn.Module, base: Path) -> Longer | None:
    """What the model in memory has beyond its base's config.json."""
    text = cast(Any, model).config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    said = _json(base)
    own = said.get("rope_parameters") or said.get("rope_scaling") or {}
    if parameters.get("rope_type", "default") in ("default", own.get("rope_type", own.get("type"))):
        return None
    return {"rope_parameters": dict(parameters), "max_position_embeddings": text.max_position_embeddings}


def say_so(file: Path, longer: Longer) -> None:
    """Let `config.json` say so."""
    said = json.loads(file.read_text("utf-8"))
    text = said.get("text_config", said)
    text.pop("rope_scaling", None)
    text.update(longer)
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _json(folder: Path) -> Mapping[str, Any]:
    said = json.loads((folder / "config.json").read_text("utf-8"))
    return cast("Mapping[str, Any]", said.get("text_config", said))


def _text(run: Run, base: Path) -> Any:
    from llama_factory.model.load import load_config

    return load_config(base, trust_remote_code=run.model.trust_remote_code).get_text_config()


def _plain(text: Any) -> Mapping[str, Any]:
    """The model's own places, if they are turned the same in every layer."""
    own = getattr(text, "rope_parameters", None)
    if not isinstance(own, dict) or "rope_theta" not in own or not hasattr(text, "max_position_embeddings"):
        raise InputError("model.no-rope", where=KEY, type=text.model_type)
    return own
