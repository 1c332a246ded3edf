"""LLaMA Factory: fine-tune a language model from a YAML file, and know that it worked.

Importing this package loads nothing heavy; what it offers is fetched when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llama_factory.tuner import LLaMATuner

__all__ = ["LLaMATuner", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> type[LLaMATuner]:
    if name == "LLaMATuner":
        from llama_factory.tuner import LLaMATuner

        return LLaMATuner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
