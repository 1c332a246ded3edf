"""LLaMA Factory: fine-tune a language model from a YAML file, and know that it worked.

Importing this package loads nothing heavy; what it offers is fetched when it is first named.
"""

from __future__ import annotations

__version__ = "0.1.0"
