"""A trained model becomes a folder that other programs load, proven equal to what was trained before it appears.

`export_model(run, say)` is the command. `merge` puts adapters into their base, `proof` compares, `reopen` is the
script that plays the other program: it runs in a clean process and knows only torch and transformers.
"""

from llama_factory.export.flow import ExportReport, export_model

__all__ = ["ExportReport", "export_model"]
