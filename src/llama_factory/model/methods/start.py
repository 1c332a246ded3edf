"""What every method is given beside its keys, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llama_factory.errors import OurFault
from llama_factory.records import Finding

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Start:
    """compute_dtype: torch's name of the format that new weights stand in. seed: what they are drawn from, alone.

    fused: layers compute in one piece (`model/lora.py`). base_folder: where the model came from, if it did. new_ids: of
    tokens whose rows learn.
    """

    compute_dtype: str
    seed: int
    fused: bool = False
    base_folder: Path | None = None
    new_ids: tuple[int, ...] = ()

    @property
    def base(self) -> Path:
        """`base_folder`, for methods that read the base's own files."""
        if self.base_folder is None:
            raise OurFault("model.no-base-folder")
        return self.base_folder


@dataclass(frozen=True, slots=True)
class Made:
    """module: the model to train, the same one or around it. said: what to tell about it."""

    module: nn.Module
    said: list[Finding]
