"""One named template, and how most of them are written: what stands before and after each role's words.

In: the marks of a family. Out: `Written`, whose text is an ordinary chat template (Jinja). The same renderer serves
it and a model's own template, and it is saved beside the weights for others to use. Nothing here knows tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Thinking = Literal["never", "optional", "always"]
"""Whether the family thinks before an answer; optional: `enable_thinking: false` asks for none."""

Around = tuple[str, str]
"""What stands before and after a role's words. `{bos}` and `{eos}` in it are the tokenizer's own tokens."""

NO_ROLE = "{%- else -%}{{- raise_exception('This template has no form for the role ' + message['role']) -}}"
"""The last branch of every template here: a role that it cannot write is refused, never left out."""


@dataclass(frozen=True)
class Written:
    """One form of a named template.

    stops: what ends an answer, `{eos}` for the end of text. markers: control tokens that it writes; a tokenizer that
    lacks one does not fit. default_system: the system text of conversations that bring none.
    """

    text: str
    stops: tuple[str, ...]
    markers: tuple[str, ...] = ()
    default_system: str = ""
    thinking: Thinking = "never"
    tools: bool = False

    def with_system(self, text: str) -> Written:
        return replace(self, default_system=text)


def turns(
    user: Around,
    assistant: Around,
    *,
    system: Around | Literal["first user"],
    begin: str = "",
    between: str = "\n\n",
    trim: bool = False,
    prompt: str | None = None,
    joint: str = "",
    end: str = "",
    stop: str = "",
    markers: tuple[str, ...] = (),
    default_system: str = "",
) -> Written:
    """A family whose turns are its words between two marks.

    system "first user": its words stand at the beginning of the first user's turn, then `between`. prompt: what is
    written for the model to go on, where it is not all that stands before an answer. joint: between two messages.
    end: after a finished conversation. stop: what ends an answer, where it is not the first mark after it.
    """
    words = "message['content'] | trim" if trim else "message['content']"
    folded = system == "first user"
    lines = []
    if begin:
        lines.append("{{- " + spelled(begin) + " -}}")
    if folded:
        lines.append("{%- set first = namespace(system='') -%}")
    lines.append("{%- for message in messages -%}")
    if joint:
        lines.append("{%- if not loop.first -%}{{- " + spelled(joint) + " -}}{%- endif -%}")
    lines.append("{%- if message['role'] == 'system' -%}")
    if isinstance(system, tuple):
        lines.append(_said(system, words))
    else:
        lines.append("    {%- set first.system = message['content'] + " + spelled(between) + " -%}")
    lines.append("{%- elif message['role'] == 'user' -%}")
    lines.append(_said(user, "first.system + " + words if folded else words))
    if folded:
        lines.append("    {%- set first.system = '' -%}")
    lines.append("{%- elif message['role'] == 'assistant' -%}")
    lines.append(_said(assistant, words))
    lines += [NO_ROLE, "{%- endif -%}", "{%- endfor -%}"]
    asked = assistant[0] if prompt is None else prompt
    if asked:
        between_turns = spelled(joint + asked)
        lines.append("{%- if add_generation_prompt -%}{{- " + between_turns + " -}}{%- endif -%}")
    if end:
        lines.append("{%- if not add_generation_prompt -%}{{- " + spelled(end) + " -}}{%- endif -%}")
    stops = (stop,) if stop else tuple(_MARKS.findall(assistant[1])[:1])
    return Written("\n".join(lines) + "\n", stops, markers, default_system)


def spelled(text: str) -> str:
    """`text` as an expression of Jinja, with the tokenizer's own tokens by name."""
    parts = [part for part in re.split(r"(\{bos\}|\{eos\})", text) if part]
    return " + ".join({"{bos}": "bos_token", "{eos}": "eos_token"}.get(part) or quoted(part) for part in parts) or "''"


def quoted(text: str) -> str:
    """`text` as a string of Jinja."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


_MARKS = re.compile(r"\{eos\}|<[^<>\s]+>|\[[^\[\]\s]+\]")


def _said(around: Around, words: str) -> str:
    before, after = around
    parts = [spelled(before)] * bool(before) + [words] + [spelled(after)] * bool(after)
    return "    {{- " + " + ".join(parts) + " -}}"
