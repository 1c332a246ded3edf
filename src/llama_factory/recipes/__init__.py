"""Jobs, one readable file each: what happens from a configuration to a trained model, in order.

A recipe names the steps and hands values from room to room. It contains no arithmetic, and what it says on
screen goes through `say`. `RECIPES` is the table of stages; `train` picks from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from llama_factory import machine
from llama_factory.model.native.making import MAKING
from llama_factory.recipes.outcome import Outcome, Say

if TYPE_CHECKING:
    from llama_factory.config import Run
    from llama_factory.errors import Language

__all__ = ["RECIPES", "Outcome", "Say", "train"]


def _before_torch(run: Run) -> None:
    """What has to come before torch is first imported, or is done beside that: the kernels, where there is no GPU."""
    machine.keep_memory()
    if run.model.fused_layers and not machine.describe().gpus:
        MAKING.begin()


def _sft(run: Run, say: Say, language: Language) -> Outcome:
    _before_torch(run)
    from llama_factory.recipes.sft import sft

    return sft(run, say, language)


def _pt(run: Run, say: Say, language: Language) -> Outcome:
    _before_torch(run)
    from llama_factory.recipes.pt import pt

    return pt(run, say, language)


RECIPES: Mapping[str, Callable[[Run, Say, Language], Outcome]] = {"pt": _pt, "sft": _sft}


def train(run: Run, *, say: Say = print, language: Language = "en") -> Outcome:
    """Train as `run` says. Raises LlamaFactoryError; an unfinished run leaves its last good state behind."""
    return RECIPES[run.stage](run, say, language)
