"""A chat template, run in a sandbox that follows every character of every message.

In: a template's text and messages whose content is `Traced`. Out: one `Traced` string.
The environment is the one that transformers gives to chat templates (block trimming, loop controls,
`raise_exception`, `strftime_now`, `tojson`, `{% generation %}`), so the text is equal to
`apply_chat_template`'s; a test holds the two together. Nothing here knows tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_mark_safe
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from llama_factory.render.looks import Looked, Unfollowed
from llama_factory.render.provenance import ProvenanceLost, Traced, holds_traced, join, plain, to_json

_KEEPING = frozenset(
    """
    abs attr batch capitalize count d default dictsort first float groupby int items join last length list lower map
    max min reject rejectattr replace round select selectattr slice sort string tojson trim unique upper
    """.split()
)
"""Filters of jinja2 that only move text about, or change it through the methods of `Traced`. Any other one
might copy a message's characters where nobody sees it, so it may not touch them."""


_PASSING = frozenset({"d", "default", "string", "trim"})
"""Filters that hand a text on, or ask it through its own methods."""


class TemplateRefused(Exception):
    """The template itself called `raise_exception`: it does not take such a conversation."""


class _Generation(Extension):
    """`{% generation %}`: a mark that some templates carry. Provenance makes it superfluous; its body is kept."""

    tags = {"generation"}  # noqa: RUF012 - the form that jinja2 asks for

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _TracingCode(CodeGenerator):
    """The `~` operator calls the environment's own concatenation instead of a plain string join."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat((")
        for operand in node.nodes:
            self.visit(operand, frame)
            self.write(", ")
        self.write("))")


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _TracingCode
    intercepted_binops = frozenset(["%"])
    concat = staticmethod(lambda parts: join("", parts))

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as jinja2 names them
        owner = getattr(__obj, "__self__", None)
        if type(owner) is str and __obj.__name__ == "join":
            return join(owner, args[0])
        if not isinstance(__obj, Macro) and __obj is not Namespace and not isinstance(owner, Looked):
            _refuse_looked((*args, *kwargs.values()), str(getattr(__obj, "__name__", __obj)))
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(__obj, Macro):
            return result
        return _checked(result, (*args, *kwargs.values()), str(getattr(__obj, "__name__", __obj)))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if holds_traced(left) or holds_traced(right):
            raise ProvenanceLost(f"the operator {operator}")
        return super().call_binop(context, operator, left, right)


def compile_template(text: str) -> jinja2.Template:
    """Raises jinja2.TemplateSyntaxError."""
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters = {name: _following(name, function) for name, function in environment.filters.items()}
    environment.filters |= {"tojson": _tojson, "join": _join, "safe": _safe}
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(text)


def run(template: jinja2.Template, messages: Sequence[Mapping[str, Any]], **variables: Any) -> Traced:
    """Raises TemplateRefused, ProvenanceLost or jinja2.TemplateError."""
    text = template.render(messages=list(messages), **variables)
    return text if isinstance(text, Traced) else Traced(text)


def _following(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of jinja2 whose result must still know where a message's text is, or is refused."""

    @functools.wraps(function)
    def follow(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if name not in _PASSING:
            _refuse_looked(given, name)
        if name not in _KEEPING and any(holds_traced(value) for value in given):
            raise ProvenanceLost(f"the filter {name}")
        return _checked(function(*args, **kwargs), given, name)

    return follow


def _refuse_looked(given: Sequence[Any], name: str) -> None:
    if any(isinstance(value, Looked) for value in given):
        raise Unfollowed(name)


def _checked(result: Any, given: Sequence[Any], name: str) -> Any:
    if (
        not isinstance(result, Traced)
        and isinstance(result, str)
        and result
        and any(holds_traced(value) for value in given)
    ):
        raise ProvenanceLost(name)
    return result


def _join(value: Any, d: str = "", attribute: str | None = None) -> Traced:
    return join(d, [item[attribute] if attribute else item for item in value])


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return to_json(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _safe(value: Any) -> Any:
    """A message's text stays what it is. A template's own, marked so, escapes what is added to it, as in jinja2."""
    return value if isinstance(value, Traced) else do_mark_safe(value)


def _raise_exception(message: str) -> None:
    raise TemplateRefused(plain(message))
