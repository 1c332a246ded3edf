"""Those who listen to a run: the console, a log file, TensorBoard, a picture. None of them can stop it."""

from __future__ import annotations

from llama_factory.trainer.observers.quiet import Quiet

__all__ = ["Quiet"]
