"""Does a model fit its rows and the disk? Read from config.json and the headers of the weights.

In: the base's folder, the lengths of the rows, their largest token, the run. Out: findings `model.*`, and how large
a checkpoint will be. The size is an estimate: it counts what `trainer.checkpoints` writes. No weight is loaded, and
torch only where a name looks wrong (`audit_method`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llama_factory.config.sections.method import PROMPTS
from llama_factory.config.values import is_pattern
from llama_factory.errors import LlamaFactoryError
from llama_factory.model import adapters, load, weights
from llama_factory.model.methods.prompts import TOKENS as DEFAULT_TOKENS
from llama_factory.model.quantised import checkpoints
from llama_factory.model.vocabulary import Growth
from llama_factory.model.window import Longer
from llama_factory.records import Finding
from llama_factory.storage import free_bytes

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config import Run
    from llama_factory.config.sections.adapters import Lora

WINDOW = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
"""Under one of these names a model's configuration says how many tokens it was trained to see."""

NO_LORA = ("embed", "wte", "wpe", "lm_head", "output.weight")
"""Parts of names of two-sided weights that `lora_target: all` leaves alone."""

IN_LAYER = re.compile(r"\.\d+\.")
"""In a name: the number of a layer."""

FLOAT32 = 4
STATE = 3 * FLOAT32
"""Bytes that a checkpoint holds for a trained weight beside the model's files: the master and AdamW's two moments."""


def audit(
    folder: Path,
    lengths_R: NDArray[np.int64],
    largest_id: int,
    longer: Longer | None = None,
    grown: Growth | None = None,
    *,
    before: int = 0,
) -> list[Finding]:
    """Window and vocabulary against the rows.

    longer: of `rope_scaling`. grown: of new tokens. before: learned tokens before each row.
    """
    config = {**shape(folder), **(longer or {})}
    found: list[Finding] = []
    window = next((config[name] for name in WINDOW if isinstance(config.get(name), int)), None)
    longest = int(lengths_R.max())
    if window is not None and longest > (room := window - before):
        values = {"window": window, "longest": longest, "count": int((lengths_R > room).sum())}
        id = "model.beyond-window-learned" if before else "model.beyond-window"
        also = {"before": before, "room": max(0, room)} if before else {}
        found.append(Finding(id, "warning", str(folder / "config.json"), values | also))
    size = config.get("vocab_size") if grown is None else grown.rows
    if isinstance(size, int) and largest_id >= size:
        found.append(Finding("model.token-unknown", "error", str(folder), {"token": largest_id, "size": size}))
    return found


def shape(folder: Path) -> Mapping[str, Any]:
    """config.json; of a model with several parts, what it says about the part that reads text."""
    config = load.check_folder(folder)
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def checkpoint_bytes(run: Run, folder: Path, grown: Growth | None = None) -> tuple[int, int]:
    """Bytes of one checkpoint, and of the finished result. grown: of new tokens."""
    entries = [entry for entry in plain_entries(folder) if entry.is_float]
    trained = trained_count(run, entries, shape(folder)) + new_count(run, shape(folder), grown)
    if run.method.adapts:
        result = FLOAT32 * trained * (2 if run.method.lora.pissa_init else 1)  # its start is written beside it
    else:
        result = sum(entry.elements * min(weights.BYTES[entry.dtype], FLOAT32) for entry in entries)
    return result + STATE * trained, result


def new_count(run: Run, config: Mapping[str, Any], grown: Growth | None) -> int:
    """Numbers that learn for new tokens: rows beside an adapter, or all of an embedding and a head."""
    if grown is None:
        return 0
    width = int(config.get("hidden_size") or config.get("n_embd") or 1)
    whole = {"lora": len(grown.ids), "full": grown.rows - grown.own}.get(run.method.finetuning_type, grown.rows)
    return width * whole * (1 if config.get("tie_word_embeddings") else 2)


def plain_entries(folder: Path) -> list[weights.Entry]:
    """What the files hold, layers that are quantised under the names and shapes of what they stand for."""
    form = checkpoints.read(load.check_folder(folder), folder)
    return checkpoints.as_plain(weights.entries(folder), form, folder)


def trained_count(run: Run, entries: list[weights.Entry], config: Mapping[str, Any]) -> int:
    """How many weights will be trained, by the shapes alone."""
    if run.method.finetuning_type == "lora":
        return _lora_count(run.method.lora, entries)
    if run.method.finetuning_type == "oft":
        oft = run.method.oft
        shapes = [entry.shape for entry in entries if takes(entry, oft.oft_target)]
        return sum(_rotations(width, oft.oft_rank, oft.block_size) for _, width in shapes)
    if run.method.finetuning_type in PROMPTS:
        return _tokens(run, config)
    everything = sum(entry.elements for entry in entries)
    if run.method.finetuning_type == "full":
        return everything
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    freeze = run.method.freeze
    learn = (freeze.llama_pro_blocks if freeze.use_llama_pro else None) or abs(freeze.freeze_trainable_layers)
    outside = [entry for entry in entries if not IN_LAYER.search(entry.key)]
    extra = sum(entry.elements for entry in inside(outside, freeze.freeze_extra_modules))
    return everything * min(learn, layers) // layers + extra


def _tokens(run: Run, config: Mapping[str, Any]) -> int:
    """Weights of learned tokens, and of the network that they come out of."""
    prompts, width = run.method.prompts, int(config.get("hidden_size") or config.get("n_embd") or 1)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    hidden, tokens = prompts.encoder_hidden_size or width, prompts.num_virtual_tokens or DEFAULT_TOKENS
    if run.method.finetuning_type == "p_tuning":
        return tokens * width + hidden * (2 * width + hidden) + 2 * hidden + width
    if run.method.finetuning_type == "prompt_tuning":
        return tokens * width
    wide = 2 * layers * width
    return tokens * width + hidden * (width + wide) if prompts.prefix_projection else tokens * wide


def _rotations(width: int, blocks: int, size: int) -> int:
    """Weights of one layer's blocks: the upper triangles of their skew-symmetric matrices."""
    size, blocks = (size, width // size) if size else (width // blocks, blocks)
    return blocks * size * (size - 1) // 2


def _lora_count(lora: Lora, entries: list[weights.Entry]) -> int:
    adapted = [entry for entry in entries if takes(entry, lora.lora_target)]
    lengths = sum(entry.shape[0] for entry in adapted) if lora.use_dora else 0
    whole = sum(entry.elements for entry in inside(entries, lora.additional_target))
    return lora.lora_rank * sum(sum(entry.shape) for entry in adapted) + lengths + whole


def inside(entries: Iterable[weights.Entry], modules: Sequence[str]) -> list[weights.Entry]:
    """The tensors of these modules."""
    return [entry for entry in entries if any(f".{word}." in f".{entry.key}" for word in modules)]


def takes(entry: weights.Entry, targets: Sequence[str]) -> bool:
    """Whether these targets put an adapter on the layer of this tensor."""
    if len(entry.shape) != 2 or not entry.key.endswith(".weight"):
        return False
    if "all" in targets:
        return not any(part in entry.key for part in NO_LORA)
    name = entry.key.removesuffix(".weight")
    if is_pattern(targets[0]):
        try:
            return bool(re.fullmatch(targets[0], name))
        except re.error:  # `audit_method` says so
            return False
    return any(name == target or name.endswith(f".{target}") for target in targets)


def audit_method(run: Run, folder: Path) -> list[Finding]:
    """Layers that a key of LoRA or of freeze names and the model does not have.

    The names in the files answer for the usual ones. Only where they do not, the model is built without its weights
    and asked, which loads torch.
    """
    if run.trains_further or _names_are_known(run, folder):
        return []
    try:
        model = without_weights(run, folder)
        if model is not None:  # else `attach` will ask the one that has them
            adapters.look(model, run.method)
    except LlamaFactoryError as error:
        return [Finding(error.id, "error", error.where, error.values)]
    return []


def without_weights(run: Run, folder: Path) -> nn.Module | None:
    """The model to ask for its parts; None for one that cannot be built without weights."""
    try:
        return load.skeleton(folder, trust_remote_code=run.model.trust_remote_code)
    except (ImportError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, OSError):
        return None


def _names_are_known(run: Run, folder: Path) -> bool:
    """Whether the names in the weight files already show that nothing is amiss."""
    method, entries = run.method, weights.entries(folder).values()
    if method.finetuning_type == "lora":
        layers = [one for one in entries if not any(part in one.key for part in NO_LORA)]
        lora, targets = method.lora, method.lora.lora_target
        if lora.additional_target or lora.lora_bias != "none" or any(map(is_pattern, targets)):
            return False
        return targets == ("all",) or all(
            word != "all" and any(takes(one, (word,)) for one in layers) for word in targets
        )
    if method.finetuning_type == "full" or method.finetuning_type in PROMPTS:
        return True
    if method.finetuning_type == "oft":
        return False
    freeze, config = method.freeze, shape(folder)
    if freeze.use_llama_pro:
        return False
    count = config.get("num_hidden_layers") or config.get("n_layer")
    if not isinstance(count, int) or abs(freeze.freeze_trainable_layers) > count:
        return False
    inside = [one.key for one in entries if IN_LAYER.search(one.key)]
    outside = [one.key for one in entries if not IN_LAYER.search(one.key)]
    words = [] if freeze.freeze_trainable_modules == ("all",) else freeze.freeze_trainable_modules
    return _all_in(words, inside) and _all_in(freeze.freeze_extra_modules, outside)


def _all_in(words: Iterable[str], keys: Sequence[str]) -> bool:
    return all(any(f".{word}." in f".{key}." for key in keys) for word in words)


def audit_disk(
    run: Run, folder: Path, output: Path, *, total_steps: int, steps_per_epoch: int, grown: Growth | None = None
) -> list[Finding]:
    """Checkpoints that will be kept, and the result, against the free disk."""
    one, result = checkpoint_bytes(run, folder, grown)
    kept = checkpoints_kept(run, total_steps, steps_per_epoch)
    needed, free = one * kept + result, free_bytes(output.absolute())
    if needed <= free:
        return []
    values = {"needed": _gb(needed), "free": _gb(free), "kept": kept, "one": _gb(one)}
    return [Finding("model.disk-short", "warning", str(output), values)]


def checkpoints_kept(run: Run, total_steps: int, steps_per_epoch: int) -> int:
    """The most that lie there at one time: with a limit one more, for the oldest goes when the newest is whole."""
    saving = run.saving
    if saving.save_strategy == "no":
        return 0
    made = math.ceil(total_steps / (saving.save_steps if saving.save_strategy == "steps" else steps_per_epoch))
    return made if saving.save_total_limit is None else min(made, saving.save_total_limit + 1)


def _gb(size: int) -> str:
    return f"{size / weights.GB:.2f} GB"
