"""What a run leaves for people to look at: one page that explains it, `report.html`.

In: facts as plain values. Out: text. Trains nothing, loads neither torch nor transformers.
"""

from __future__ import annotations

from llama_factory.runs.facts import Answered, Ending, Facts
from llama_factory.runs.report import NAME, page

__all__ = ["NAME", "Answered", "Ending", "Facts", "page"]
