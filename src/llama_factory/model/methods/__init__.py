"""One file a method of fine-tuning: which weights learn, and what is put into the model for that.

In: a loaded model whose parameters are all frozen, the keys under `run.method`, a `Start`. Out: the model with what
learns marked. Every file here has the two functions of `Kind`; `METHODS` lists them by `finetuning_type`.
Nothing here trains, saves or merges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from llama_factory.model.methods import freeze, full, lora, oft, prompts
from llama_factory.model.methods.start import Made, Start

if TYPE_CHECKING:
    from torch import nn

    from llama_factory.config.sections.method import Method

__all__ = ["METHODS", "Kind", "Made", "Start"]


class Kind(Protocol):
    """How one method begins."""

    def look(self, model: nn.Module, method: Method) -> None:
        """Raise what `attach` would about names and numbers of layers. `model` needs no weights for that."""
        ...

    def attach(self, model: nn.Module, method: Method, start: Start) -> Made:
        """Mark what learns, new weights included."""
        ...


METHODS: Mapping[str, Kind] = {
    "freeze": freeze,
    "full": full,
    "lora": lora,
    "oft": oft,
    "p_tuning": prompts.P_TUNING,
    "prefix_tuning": prompts.PREFIX_TUNING,
    "prompt_tuning": prompts.PROMPT_TUNING,
}
