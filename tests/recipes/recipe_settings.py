"""A small run of the recipe: its settings, and the bytes that it leaves."""

from __future__ import annotations

import hashlib
from pathlib import Path


def settings(model: Path, rows: Path, output: Path, **changes) -> dict:
    return {
        "model_name_or_path": str(model),
        "finetuning_type": "lora",
        "lora_rank": 4,
        "lora_dropout": 0.1,
        "dataset": str(rows),
        "output_dir": str(output),
        "per_device_train_batch_size": 3,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "max_steps": 40,
        "logging_steps": 3,
        "save_steps": 7,
        "val_size": 4,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "plot_loss": True,
        "report_samples": 0,
    } | changes


def digests(folder: Path, *names: str) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
