"""YAML, JSON, words of a command line, keyword arguments -> one frozen `Run`."""

from __future__ import annotations

from llama_factory.config.gather import from_mapping, load
from llama_factory.config.run import Run

__all__ = ["Run", "from_mapping", "load"]
