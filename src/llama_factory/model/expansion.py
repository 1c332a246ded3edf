"""LLaMA Pro: copies of a model's blocks put between its own, which change nothing until they have learned.

Wu et al. 2024 (arXiv 2401.02415), section 3.2: the L blocks are cut into M groups, and behind each group stands a copy
of its last block whose writes to the residual stream, `o_proj` and `down_proj`, are zero: x + 0 = x.

In: a loaded model and M. Out: the same module with L + M blocks and a configuration that says so; the tensors of a file
and the lines of a config.json under their new names. That it changes nothing is not believed but seen, on a few tokens.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from llama_factory.errors import InputError, MachineError
from llama_factory.machine import is_out_of_memory
from llama_factory.model import fingerprint
from llama_factory.model.methods.names import layers
from llama_factory.model.weights import Entry

if TYPE_CHECKING:
    from torch import nn

WRITERS = ("o_proj", "out_proj", "dense", "c_proj", "wo", "down_proj", "fc2", "w2", "dense_4h_to_h", "fc_out")
"""Last parts of the names of layers that write to the residual stream."""

COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
PROBE = 8


class Place(NamedTuple):
    """source: which of the model's own blocks stands here, or was copied to here."""

    source: int
    is_new: bool


def places(count: int, blocks: int) -> list[Place]:
    """What stands at each place once `blocks` copies are among `count` blocks."""
    group = count // blocks
    return [
        place
        for at in range(count)
        for place in ([Place(at, False), Place(at, True)] if (at + 1) % group == 0 else [Place(at, False)])
    ]


def check(count: int, blocks: int) -> None:
    """Raise what `expand` would about numbers."""
    if blocks > count or count % blocks:
        known = ", ".join(str(it) for it in range(1, count + 1) if count % it == 0)
        values = {"found": blocks, "layers": count, "known": known}
        raise InputError("model.pro-blocks", where="llama_pro_blocks", **values)


def already(folder: Path | None) -> int:
    """How many blocks the run that made this folder put in; 0 for every other model."""
    born = fingerprint.read(folder) if folder is not None else None
    return int((born.method.get("llama_pro_blocks") or 0) if born is not None else 0)


def expand(model: nn.Module, blocks: int) -> None:
    """Put the copies in. Raises InputError where the model would say something else afterwards."""
    import torch

    whole = cast(Any, model)
    name, count = layers(model)
    check(count, blocks)
    ids = torch.arange(PROBE, device=whole.get_input_embeddings().weight.device)[None] % 7 + 1
    try:
        with torch.no_grad():
            before = whole(input_ids=ids, use_cache=False).logits
            _insert(whole, name, places(count, blocks))
            same = bool(torch.equal(whole(input_ids=ids, use_cache=True).logits, before))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        if is_out_of_memory(error):
            raise MachineError("model.no-memory", where="use_llama_pro") from error
        raise InputError("model.pro-changes", where="use_llama_pro", type=whole.config.model_type) from error
    if not same:
        raise InputError("model.pro-changes", where="use_llama_pro", type=whole.config.model_type)


def _insert(model: Any, name: str, wanted: list[Place]) -> None:
    own = list(model.get_submodule(name))
    found = []
    for at, place in enumerate(wanted):
        block = _copied(own[place.source]) if place.is_new else own[place.source]
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = at
        if place.is_new:
            for parameter_name, value in block.named_parameters():
                if not set(parameter_name.split(".")).isdisjoint(WRITERS):
                    value.data.zero_()
        found.append(block)
    listed = model.get_submodule(name)
    del listed[:]
    listed.extend(found)
    config = model.config.get_text_config()
    for key, value in _grown(config.to_dict(), wanted).items():
        setattr(config, key, value)


def _copied(block: nn.Module) -> nn.Module:
    """A block with weights of its own and the model's configuration: a copy of that would not hear which attention the
    model computes with, and rows laid end to end would see each other in the new blocks alone.
    """
    from transformers import PretrainedConfig

    shared = (it for module in block.modules() for it in vars(module).values() if isinstance(it, PretrainedConfig))
    return copy.deepcopy(block, {id(it): it for it in shared})


def _grown(said: Mapping[str, Any], wanted: list[Place]) -> dict[str, Any]:
    """What of a configuration counts layers, or says something of each, as it is for these places."""
    count = sum(not place.is_new for place in wanted)
    found: dict[str, Any] = {key: len(wanted) for key in COUNTS if said.get(key) == count}
    for key, value in said.items():
        if isinstance(value, list) and len(value) == count and key != "architectures":
            found[key] = [value[place.source] for place in wanted]
    return found


def blocks_of(model: nn.Module, base_folder: Path) -> int:
    """How many blocks more the model has than the folder that it came from."""
    said = json.loads((base_folder / "config.json").read_text("utf-8"))
    text = said.get("text_config", said)
    own = next((text[key] for key in COUNTS if isinstance(text.get(key), int)), 0)
    count = int(cast(Any, model).config.get_text_config().num_hidden_layers)
    return count - own if own else 0


def entries(known: Mapping[str, Entry], model: nn.Module, blocks: int) -> dict[str, Entry]:
    """The tensors of the base's files as those of the model with so many new blocks, by their new names."""
    name, total = layers(model)
    listed = re.compile(rf"((?:^|.*\.){re.escape(name.rpartition('.')[2])}\.)(\d+)(\..+)")
    wanted = places(total - blocks, blocks)
    found: dict[str, Entry] = {}
    for key, entry in known.items():
        match = listed.fullmatch(key)
        if match is None:
            found[key] = entry
            continue
        for at, place in enumerate(wanted):
            if place.source == int(match[2]):
                new = f"{match[1]}{at}{match[3]}"
                found[new] = replace(entry, key=key)
    return found


def say_so(file: Path, count: int, blocks: int) -> None:
    """Let `config.json`, of a model of `count` layers, say how many there are now."""
    said = json.loads(file.read_text("utf-8"))
    text = said.get("text_config", said)
    text.update(_grown(text, places(count, blocks)))
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
