"""Text that remembers where it came from: every operation keeps the spans exact or refuses."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_factory.render.jinja import TemplateRefused, compile_template, run
from llama_factory.render.provenance import ProvenanceLost, Traced, join, plain, to_json

PIECES = st.lists(st.tuples(st.text(max_size=8), st.sampled_from([None, 0, 1])), min_size=1, max_size=5)


def traced(pieces) -> Traced:
    return join("", [text if message is None else Traced.of(text, message) for text, message in pieces])


def letters(text: Traced) -> list[tuple[str, int | None]]:
    """Every character with the message it is said to come from."""
    owner: list[int | None] = [None] * len(text)
    for span in text.spans:
        owner[span.start : span.end] = [span.message] * (span.end - span.start)
    return list(zip(plain(text), owner, strict=True))


OPERATIONS = {
    "strip": lambda t: t.strip(),
    "lstrip of some": lambda t: t.lstrip("ab \n"),
    "rstrip": lambda t: t.rstrip(),
    "slice": lambda t: t[1:-1],
    "index": lambda t: t[0:1],
    "add": lambda t: t + "x",
    "radd": lambda t: "x" + t,
    "split": lambda t: join("|", t.split("a")),
    "split at spaces": lambda t: join("|", t.split()),
    "rsplit once": lambda t: join("|", t.rsplit("a", 1)),
    "splitlines": lambda t: join("|", t.splitlines()),
    "partition": lambda t: join("", t.partition("a")),
    "replace": lambda t: t.replace("a", "--"),
    "twice": lambda t: t * 2,
    "iterate": lambda t: join("", list(t)),
    "prefix": lambda t: t.removeprefix("a"),
    "suffix": lambda t: t.removesuffix("a"),
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(pieces=PIECES)
def test_an_operation_gives_the_plain_result_and_every_character_keeps_its_owner(name, pieces) -> None:
    operation = OPERATIONS[name]
    text = traced(pieces)
    result = operation(text)
    alike = operation(Everyday(plain(text)))
    assert plain(result) == str(alike)
    assert [span.start for span in result.spans] == sorted(span.start for span in result.spans)
    marked = letters(result)
    before = set(letters(text)) | {(char, None) for char in "x-|"}
    assert set(marked) <= before


class Everyday(str):
    """The same operations on ordinary text, for comparison."""

    def split(self, *a):
        return str.split(self, *a)


@given(pieces=PIECES)
def test_json_of_traced_text_is_json_of_the_plain_text(pieces) -> None:
    text = traced(pieces)
    value = {"a": [text, 1, None, "constant"], "b": {"c": text}}
    alike = {"a": [plain(text), 1, None, "constant"], "b": {"c": plain(text)}}
    for options in ({}, {"indent": 2}, {"ensure_ascii": True}, {"separators": (",", ":")}):
        wanted = json.dumps(alike, **{"ensure_ascii": False, **options})
        assert plain(to_json(value, **{"ensure_ascii": False, **options})) == wanted


REFUSED = {
    "percent": "{{ '%s' % messages[0].content }}",
    "percent of several": "{{ '%s%s' % (messages[0].content, 'a') }}",
    "format": "{{ '{}'.format(messages[0].content) }}",
    "format filter": "{{ '<%s>' | format(messages[0].content) }}",
    "put into a constant": "{{ 'a'.replace('a', messages[0].content) }}",
    "put into a constant by filter": "{{ 'a' | replace('a', messages[0].content) }}",
    "reversed": "{{ messages[0].content[::-1] }}",
    "a list written out": "{{ [messages[0].content] }}",
    "a mapping written out": "{{ messages }}",
    "escaped": "{{ messages[0].content | e }}",
    "centred": "{{ messages[0].content | center(40) }}",
    "indented": "{{ messages[0].content | indent(4) }}",
    "encoded": "{{ messages[0].content.encode() }}",
    "urlized": "{{ messages[0].content | urlencode }}",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused(name) -> None:
    with pytest.raises(ProvenanceLost):
        run(compile_template(REFUSED[name]), [{"role": "user", "content": Traced.of("a < b\nc", 0)}])


KEPT = {
    "constant join": "{{ ', '.join([messages[0].content, 'b']) }}",
    "join filter": "{{ messages | map(attribute='content') | join('; ') }}",
    "block set": "{% set x %}<{{ messages[0].content }}>{% endset %}{{ x }}",
    "macro": "{% macro m(c) %}[{{ c }}]{% endmacro %}{{ m(messages[0].content) }}",
    "call block": "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}{{ messages[0].content }}{% endcall %}",
    "tilde": "{{ 'a' ~ messages[0].content ~ 3 }}",
    "generation": "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    "namespace": "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.content %}{% endfor %}"
    "{{ ns.t }}",
    "thought": "{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}",
    "json": "{{ messages[0].content | tojson }}",
    "first": "{{ [messages[0].content] | first | trim }}",
    "default": "{{ messages[0].content | default('x') | string }}",
    "break": "{% for m in messages %}{{ m.content }}{% break %}{% endfor %}",
    "test": "{% if 'x' in messages[0].content and messages[0].content is string %}yes{% else %}no{% endif %}",
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_templates_do_is_followed_and_equals_transformers(name) -> None:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    content = "  a<think>b</think>\n\nc\"'é \n"
    ours = run(compile_template(KEPT[name]), [{"role": "user", "content": Traced.of(content, 0)}])
    theirs = _compile_jinja_template(KEPT[name]).render(messages=[{"role": "user", "content": content}])
    assert plain(ours) == theirs
    if name != "test":
        assert ours.spans
        assert {span.message for span in ours.spans} == {0}


def test_a_template_that_refuses_says_so() -> None:
    with pytest.raises(TemplateRefused, match="no system"):
        run(compile_template("{{ raise_exception('no system') }}"), [])


def test_random_long_programs_of_operations_agree_with_plain_text() -> None:
    generator = random.Random(7)
    count = 0
    for _ in range(300):
        text = traced([("ab a\n", generator.choice([None, 0, 1])) for _ in range(4)])
        alike = Everyday(plain(text))
        for _ in range(6):
            operation = OPERATIONS[generator.choice(list(OPERATIONS))]
            text, alike = operation(text), Everyday(plain(operation(Traced(alike))))
            assert plain(text) == str(alike)
            count += 1
    assert count == 1800
