"""The template that an adapter was trained with: asked for by every command that opens one.

In: a run, its folders, the renderer it would use. Out: findings, or the letter that refuses another template or
tokenizer: answers learned behind one prompt are not given behind another. Deliberately not here: the base's
weights, which `model.adapters` compares when it opens the adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_factory.errors import InputError
from llama_factory.model import fingerprint
from llama_factory.model.locate import Folders
from llama_factory.records import Finding
from llama_factory.render import Renderer

if TYPE_CHECKING:
    from llama_factory.config import Run


def require_template(run: Run, folders: Folders, renderer: Renderer) -> list[Finding]:
    """Raises InputError `model.other-template`, unless the run allows it: then it is a warning.

    What was trained on plain texts knows no template, and what was not made here has no note of one.
    """
    found: list[Finding] = []
    for folder in folders.adapters:
        born = fingerprint.read(folder)
        if born is None or not born.template_fingerprint or born.template_fingerprint == renderer.template_fingerprint:
            continue
        part = "tokenizer" if born.template == renderer.template_text else "template"
        if not run.data.allow_template_mismatch:
            raise InputError("model.other-template", where=folder, part=part)
        found.append(Finding("model.other-template-allowed", "warning", str(folder), {"part": part}))
    return found
