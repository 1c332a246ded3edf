"""The templates that a name in `template:` stands for, for models that bring none of their own.

One table: name -> the forms of that family, the usual one first. A form fits a tokenizer that knows all its markers.
The texts are written in the language of chat templates (Jinja), so that one renderer serves the model's own template
and these alike, and so that they can be saved beside the weights for others to use. A model's own template is compared
with the named one in `choose.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.render.templates.chatml import CHATML_FAMILY
from llama_factory.render.templates.llama import LLAMA_FAMILY
from llama_factory.render.templates.marks import MARKS
from llama_factory.render.templates.reasoning import REASONING
from llama_factory.render.templates.words import PLAIN, WORDS
from llama_factory.render.templates.written import Thinking, Written, quoted

__all__ = ["PLAIN", "TEMPLATES", "Thinking", "Written", "template_names", "with_default_system"]

TEMPLATES: Mapping[str, tuple[Written, ...]] = dict(
    sorted({**CHATML_FAMILY, **LLAMA_FAMILY, **MARKS, **REASONING, **WORDS}.items())
)


def template_names() -> tuple[str, ...]:
    return tuple(TEMPLATES)


def with_default_system(text: str, default_system: str) -> str:
    """`text`, led by a line that puts `default_system` before conversations that have no system turn.

    The line is part of the saved template, so that whoever serves the model sends the same tokens.
    """
    if not default_system:
        return text
    return (
        "{% if not messages or messages[0]['role'] != 'system' %}"
        f"{{% set messages = [{{'role': 'system', 'content': {quoted(default_system)}}}] + messages %}}"
        "{% endif %}{{ '' }}" + text
    )
