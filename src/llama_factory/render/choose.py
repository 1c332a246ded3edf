"""Which template a model is trained and served with.

In: the model's own template (or none), the name under `template:` (or none), the default system text.
Out: one text, and what the user should be told about the choice. The rule:

| the model has | the file names | used |
|---|---|---|
| a template | nothing | the model's own |
| a template | one that writes the same control tokens and turns | the model's own, with the named default system text |
| a template | one that does not | refused, unless `allow_template_mismatch: true` |
| none | one whose control tokens the tokenizer knows | the named one |
| none | nothing | prompt, line break, response, end of text: said aloud |
"""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from llama_factory.errors import InputError, nearest
from llama_factory.records import Finding
from llama_factory.render.jinja import TemplateRefused, compile_template, run
from llama_factory.render.provenance import ProvenanceLost, plain
from llama_factory.render.templates import PLAIN, TEMPLATES, Written, with_default_system
from llama_factory.render.tokenizer import Tokenizer

_TURNS = (
    {"role": "user", "content": "first question"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "second question"},
    {"role": "assistant", "content": "second answer"},
)
_WITH_SYSTEM = ({"role": "system", "content": "a system text"}, *_TURNS)


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
    system = fitting[0].default_system if default_system is None else default_system
    return Chosen(named, with_default_system(fitting[0].text, system))


def _compared(
    own: str, named: str, variants: list[Written], default_system: str | None, tokenizer: Tokenizer, allow: bool
) -> Chosen:
    for variant in variants:
        if _sample(variant.text, tokenizer, _WITH_SYSTEM) == _sample(own, tokenizer, _WITH_SYSTEM) is not None:
            return _same_turns(own, named, variant, default_system, tokenizer)
    variant = variants[0]
    ours, theirs = (_sample(text, tokenizer, _WITH_SYSTEM) or "" for text in (variant.text, own))
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    difference = {
        "template": named,
        "ours": repr(ours[max(0, at - 20) : at + 40]),
        "theirs": repr(theirs[max(0, at - 20) : at + 40]),
    }
    if not allow:
        raise InputError("render.template-mismatch", where=tokenizer.folder, **difference)
    system = variant.default_system if default_system is None else default_system
    said = Finding("render.template-mismatch-allowed", "warning", str(tokenizer.folder), difference)
    return Chosen(named, with_default_system(variant.text, system), (said,))


def _same_turns(own: str, named: str, variant: Written, default_system: str | None, tokenizer: Tokenizer) -> Chosen:
    """The same control tokens and turns; the default system text may differ, and the name decides it."""
    system = variant.default_system if default_system is None else default_system
    wanted = with_default_system(variant.text, system)
    if _sample(wanted, tokenizer, _TURNS) == _sample(own, tokenizer, _TURNS):
        return Chosen(f"{named} (the model's own)", own)
    said = Finding("render.default-system-differs", "note", "", {"template": named, "system": system or "-"})
    return Chosen(named, with_default_system(own, system) if system else wanted, (said,))


def _sample(text: str, tokenizer: Tokenizer, turns: tuple[dict[str, str], ...]) -> str | None:
    """The sample conversation as the template writes it, without white space at its end; None if it refuses."""
    try:
        return plain(run(compile_template(text), turns, **variables(tokenizer, add_generation_prompt=False))).rstrip()
    except (TemplateRefused, ProvenanceLost, jinja2.TemplateError):
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
