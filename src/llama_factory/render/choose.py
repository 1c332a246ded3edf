"""Which template a model is trained and served with.

In: the model's own template (or none), the name under `template:` (or none), the default system text.
Out: one text, and what the user should be told about the choice. The rule:

| the model has | the file names | used |
|---|---|---|
| a template | nothing | the model's own |
| a template | one that writes the same control tokens and turns | the model's own, with the named default system text |
| a template without a place for a system text | one that writes the same turns and has one | the named one |
| a template | one that does not | refused, unless `allow_template_mismatch: true` |
| none | one whose control tokens the tokenizer knows | the named one |
| none | nothing | prompt, line break, response, end of text: said aloud |

Both are compared token for token over a small conversation; where only thoughts or tools are written otherwise, that
is said, with which of the two is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jinja2

from llama_factory.errors import InputError, nearest
from llama_factory.records import Finding
from llama_factory.render.jinja import TemplateRefused, compile_template, run
from llama_factory.render.provenance import ProvenanceLost, Traced, plain
from llama_factory.render.templates import PLAIN, TEMPLATES, Written, with_default_system
from llama_factory.render.tokenizer import Tokenizer

_TURNS = (
    {"role": "user", "content": "first question"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "second question"},
    {"role": "assistant", "content": "second answer"},
)
_SYSTEM_TEXT = "a system text"
_WITH_SYSTEM = ({"role": "system", "content": _SYSTEM_TEXT}, *_TURNS)
_THOUGHT, _TOOL = "a thought", "a_tool"
_THINKING = tuple(
    turn | dict.fromkeys(("reasoning_content", "reasoning", "thinking"), _THOUGHT) if number % 2 else turn
    for number, turn in enumerate(_TURNS)
)
_TOOLS = (
    {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "what it does",
            "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "a"}}},
        },
    },
)
_CALLING = (
    _TURNS[0],
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "id": "call00001", "function": {"name": _TOOL, "arguments": {"a": "b"}}}],
    },
    {"role": "tool", "content": "a result", "name": _TOOL, "tool_call_id": "call00001"},
    _TURNS[1],
)
_ELSEWHERE: Sequence[tuple[Mapping[str, str], str, Sequence[Mapping[str, object]], Sequence[object] | None]] = (
    ({"own": "render.thoughts-differ-own", "named": "render.thoughts-differ-named"}, _THOUGHT, _THINKING, None),
    ({"own": "render.tools-differ-own", "named": "render.tools-differ-named"}, _TOOL, _CALLING, _TOOLS),
)
"""What is said of a difference by which of the two is used, the word that shows that a template has a form for such
turns, the turns, and the tools."""


@dataclass(frozen=True)
class Chosen:
    """`name` is what to call it on screen; `text` is what is run, default system text included."""

    name: str
    text: str
    said: tuple[Finding, ...] = ()


def choose(
    own: str | None, named: str | None, default_system: str | None, tokenizer: Tokenizer, *, allow_mismatch: bool
) -> Chosen:
    """Raises InputError `render.unknown-template`, `render.markers-missing`, `render.template-mismatch`."""
    if named is not None and named not in TEMPLATES:
        raise InputError(
            "render.unknown-template", found=named, known=", ".join(TEMPLATES), near=nearest(named, TEMPLATES)
        )
    if named is None and own is not None:
        return Chosen("the model's own", with_default_system(own, default_system or ""))
    if named is None:
        _require_end_of_text(tokenizer, "plain")
        text = with_default_system(PLAIN.text, default_system or "")
        return Chosen("plain prompt and response", text, (Finding("render.plain-form", "warning"),))
    fitting = [variant for variant in TEMPLATES[named] if all(m in tokenizer.control for m in variant.markers)]
    if own is None:
        return _written(named, fitting, default_system, tokenizer)
    return _compared(own, named, fitting or list(TEMPLATES[named]), default_system, tokenizer, allow_mismatch)


def _written(named: str, fitting: list[Written], default_system: str | None, tokenizer: Tokenizer) -> Chosen:
    if not fitting:
        missing = [marker for marker in TEMPLATES[named][0].markers if marker not in tokenizer.control]
        raise InputError("render.markers-missing", where=tokenizer.folder, template=named, missing=", ".join(missing))
    if "eos_token" in fitting[0].text:
        _require_end_of_text(tokenizer, named)
    return Chosen(named, with_default_system(fitting[0].text, _system(fitting[0], default_system)))


def _compared(
    own: str, named: str, variants: list[Written], default_system: str | None, tokenizer: Tokenizer, allow: bool
) -> Chosen:
    theirs = _sample(own, tokenizer, _WITH_SYSTEM)
    for variant in variants:
        if theirs is not None and _sample(variant.text, tokenizer, _WITH_SYSTEM) == theirs:
            return _same_turns(own, named, variant, default_system, tokenizer)
    if theirs is None or _SYSTEM_TEXT not in theirs:
        for variant in variants:
            if _sample(variant.text, tokenizer, _TURNS) == _sample(own, tokenizer, _TURNS):
                return _system_only_named(named, variant, default_system, tokenizer)
    differences = [(_first_difference(variant.text, own, tokenizer), variant) for variant in variants]
    difference, variant = max(differences, key=lambda found: found[0].at)
    values = {"template": named, "before": difference.before, "ours": difference.ours, "theirs": difference.theirs}
    if not allow:
        raise InputError("render.template-mismatch", where=tokenizer.folder, **values)
    said = Finding("render.template-mismatch-allowed", "warning", str(tokenizer.folder), values)
    return Chosen(named, with_default_system(variant.text, _system(variant, default_system)), (said,))


def _same_turns(own: str, named: str, variant: Written, default_system: str | None, tokenizer: Tokenizer) -> Chosen:
    """The same control tokens and turns; the default system text may differ, and the name decides it."""
    system = _system(variant, default_system)
    wanted = with_default_system(variant.text, system)
    if _sample(wanted, tokenizer, _TURNS) == _sample(own, tokenizer, _TURNS):
        return Chosen(f"{named} (the model's own)", own, _elsewhere(own, named, variant, tokenizer, "own"))
    said = Finding("render.default-system-differs", "note", "", {"template": named, "system": system or "-"})
    if system:
        others = _elsewhere(own, named, variant, tokenizer, "own")
        return Chosen(named, with_default_system(own, system), (said, *others))
    return Chosen(named, wanted, (said, *_elsewhere(own, named, variant, tokenizer, "named")))


def _system_only_named(named: str, variant: Written, default_system: str | None, tokenizer: Tokenizer) -> Chosen:
    """The same turns, and only the named template has a place for a system text."""
    said = Finding("render.system-only-named", "note", str(tokenizer.folder), {"template": named})
    return Chosen(named, with_default_system(variant.text, _system(variant, default_system)), (said,))


def _elsewhere(
    own: str, named: str, variant: Written, tokenizer: Tokenizer, used: Literal["own", "named"]
) -> tuple[Finding, ...]:
    """What is said of two templates with the same turns that write thoughts or tools otherwise.

    Nothing where the model's own has no form for them: rows that need one are refused, one by one, with the reason.
    """
    said: list[Finding] = []
    for ids, word, turns, tools in _ELSEWHERE:
        ours, theirs = (_sample(text, tokenizer, turns, tools) or "" for text in (variant.text, own))
        if ours != theirs and word in theirs and (used == "named" or word in ours):
            said.append(Finding(ids[used], "note", str(tokenizer.folder), {"template": named}))
    return tuple(said)


def _system(variant: Written, default_system: str | None) -> str:
    return variant.default_system if default_system is None else default_system


class Difference(NamedTuple):
    """at: tokens that are the same from the beginning. ours, theirs: the token that follows, by id and text."""

    at: int
    before: str
    ours: str
    theirs: str


def _first_difference(ours: str, theirs: str, tokenizer: Tokenizer) -> Difference:
    texts = [_sample(text, tokenizer, _WITH_SYSTEM) for text in (ours, theirs)]
    if None in texts:
        texts = [_sample(text, tokenizer, _TURNS) for text in (ours, theirs)]
    one, other = (found.ids_T.tolist() for found in tokenizer.encode([Traced(text or "") for text in texts]))
    at = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    before = tokenizer.decode(one[max(0, at - 6) : at], skip_control=False)
    return Difference(at, repr(before), _token(one, at, tokenizer), _token(other, at, tokenizer))


def _token(ids: Sequence[int], at: int, tokenizer: Tokenizer) -> str:
    if at >= len(ids):
        return "-"
    return f"{ids[at]} {tokenizer.decode(ids[at : at + 1], skip_control=False)!r}"


def _sample(
    text: str, tokenizer: Tokenizer, turns: Sequence[Mapping[str, object]], tools: Sequence[object] | None = None
) -> str | None:
    """The sample conversation as the template writes it, without white space at its end; None if it refuses."""
    given = {**variables(tokenizer, add_generation_prompt=False), "tools": tools}
    try:
        return plain(run(compile_template(text), turns, **given)).rstrip()
    except (TemplateRefused, ProvenanceLost, jinja2.TemplateError, TypeError, KeyError, AttributeError, ValueError):
        return None


def variables(tokenizer: Tokenizer, *, add_generation_prompt: bool) -> dict[str, object]:
    """What a template may use beside `messages`."""
    return {
        "tools": None,
        "documents": None,
        **tokenizer.names,
        "add_generation_prompt": add_generation_prompt,
    }


def _require_end_of_text(tokenizer: Tokenizer, template: str) -> None:
    if tokenizer.id_of("eos_token") is None:
        raise InputError("render.no-end-of-text", where=tokenizer.folder, template=template)
