"""Does a model fit its rows and the disk? Read from config.json and the headers of the weights, without torch.

In: the base's folder, the lengths of the rows, their largest token, the run. Out: findings `model.*`, and how large
a checkpoint will be. The size is an estimate: it counts what `trainer.checkpoints` writes. Nothing is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llama_factory.model import load, weights
from llama_factory.records import Finding
from llama_factory.storage import free_bytes

if TYPE_CHECKING:
    from llama_factory.config import Run

WINDOW = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
"""Under one of these names a model's configuration says how many tokens it was trained to see."""

NO_LORA = ("embed", "wte", "wpe", "lm_head", "output.weight")
"""Parts of names of two-sided weights that `lora_target: all` leaves alone."""

FLOAT32 = 4
STATE = 3 * FLOAT32
"""Bytes that a checkpoint holds for a trained weight beside the model's files: the master and AdamW's two moments."""


def audit(folder: Path, lengths_R: NDArray[np.int64], largest_id: int) -> list[Finding]:
    """Window and vocabulary against the rows."""
    config = shape(folder)
    found: list[Finding] = []
    window = next((config[name] for name in WINDOW if isinstance(config.get(name), int)), None)
    longest = int(lengths_R.max())
    if window is not None and longest > window:
        values = {"window": window, "longest": longest, "count": int((lengths_R > window).sum())}
        found.append(Finding("model.beyond-window", "warning", str(folder / "config.json"), values))
    size = config.get("vocab_size")
    if isinstance(size, int) and largest_id >= size:
        found.append(Finding("model.token-unknown", "error", str(folder), {"token": largest_id, "size": size}))
    return found


def shape(folder: Path) -> Mapping[str, Any]:
    """config.json; of a model with several parts, what it says about the part that reads text."""
    config = load.check_folder(folder)
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def checkpoint_bytes(run: Run, folder: Path) -> tuple[int, int]:
    """Bytes of one checkpoint, and of the finished result."""
    entries = [entry for entry in weights.entries(folder).values() if entry.is_float]
    trained = trained_count(run, entries, shape(folder))
    if run.method.finetuning_type == "lora":
        result = FLOAT32 * trained
    else:
        result = sum(entry.elements * min(weights.BYTES[entry.dtype], FLOAT32) for entry in entries)
    return result + STATE * trained, result


def trained_count(run: Run, entries: list[weights.Entry], config: Mapping[str, Any]) -> int:
    """How many weights will be trained, by the shapes alone; extra modules of `freeze` are not counted."""
    if run.method.finetuning_type == "lora":
        rank, targets = run.method.lora.lora_rank, run.method.lora.lora_target
        return sum(rank * sum(entry.shape) for entry in entries if _takes_lora(entry, targets))
    everything = sum(entry.elements for entry in entries)
    if run.method.finetuning_type == "full":
        return everything
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
    return everything * min(abs(run.method.freeze.freeze_trainable_layers), layers) // layers


def _takes_lora(entry: weights.Entry, targets: tuple[str, ...]) -> bool:
    if len(entry.shape) != 2 or not entry.key.endswith(".weight"):
        return False
    if "all" in targets:
        return not any(part in entry.key for part in NO_LORA)
    name = entry.key.removesuffix(".weight")
    return any(name == target or name.endswith(f".{target}") for target in targets)


def audit_disk(run: Run, folder: Path, output: Path, *, total_steps: int, steps_per_epoch: int) -> list[Finding]:
    """Checkpoints that will be kept, and the result, against the free disk."""
    one, result = checkpoint_bytes(run, folder)
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
