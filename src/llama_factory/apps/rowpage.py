"""The page of `show`: rows with every token in the colour of its weight, in one file that needs no other.

In: a `Showing` and a language. Out: the text of a file that opens anywhere: no script, nothing from elsewhere, light
or dark as the reader's system is. What a row says is text in it and never markup (`runs.markup`). It reads and writes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from llama_factory.apps.showing import role_of, source_of, turns, verdict
from llama_factory.apps.words import said
from llama_factory.errors import Language
from llama_factory.recipes.show import Showing, Shown, View
from llama_factory.records import FROM_TEMPLATE
from llama_factory.render.shown import Token
from llama_factory.runs.markup import Html, join, tag
from llama_factory.runs.report import LANGUAGES, NO_SCRIPT
from llama_factory.runs.words import STYLE

STEPS = 10
"""Shades between untrained and fully trained."""

SIGNS = {"\n": "↵", "\t": "→", "\r": "␍"}
OWN_STYLE = """
.rows{columns:16em;padding-left:1.2em;margin:.6em 0}
.rows li{break-inside:avoid}
a{color:var(--c1)}
section{border-top:1px solid var(--line);margin-top:2.2em;padding-top:.4em}
h2{margin:.8em 0 .3em;overflow-wrap:anywhere}
.verdict{display:inline-block;padding:1px 9px;border-radius:9px;font-size:.86rem;border:1px solid currentColor}
.v-trained{color:var(--good)}.v-shortened{color:var(--wait)}.v-too-long,.v-bad{color:var(--bad)}
.row{font:.92rem/2 ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono CJK SC",monospace}
.t{border-radius:3px;padding:1px 0;box-shadow:inset -1px 0 0 var(--line)}
.t:hover{outline:2px solid var(--c1)}
.s{color:var(--dim);opacity:.7}
.k{border:1px dashed var(--dim);padding:0 2px;font-size:.86em}
.h{color:var(--dim)}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;margin:.6em 0;font-size:.9rem;align-items:center}
.cut{display:block;border-top:2px dashed var(--bad);color:var(--bad);font-size:.8rem;line-height:1.4;margin:4px 0}
.num{text-align:right;font-variant-numeric:tabular-nums}
table{width:auto;max-width:100%;display:block;overflow-x:auto}
td,th{padding:3px 14px 3px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
td.num,th.num{text-align:right}
th{font-weight:600;color:var(--dim);font-size:.86rem}
code{font:.9rem ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono CJK SC",monospace;white-space:pre-wrap}
"""


def page(showing: Showing, language: Language) -> str:
    """The whole file."""
    title = said("show.title", language, rows=len(showing.rows))
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=NO_SCRIPT),
        tag("title", title),
        tag("style", Html(STYLE + OWN_STYLE + _shades())),
    ]
    by = said("show.by", language, template=showing.template, tokenizer=showing.tokenizer)
    many = len(showing.rows) > 1
    body = [
        tag("h1", title),
        tag("p", by, " cutoff_len: ", showing.cutoff_len, cls="dim"),
        _legend(showing, language),
        tag("ol", *(_entry(number, row, language) for number, row in enumerate(showing.rows)), cls="rows")
        if many
        else "",
        *(_row(number, row, showing, language) for number, row in enumerate(showing.rows)),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang=LANGUAGES[language])}\n"


def shade(weight: float) -> int:
    """0 for what is only read, else 1 to STEPS; a weight that is not zero is never shown as none."""
    return 0 if weight == 0 else min(STEPS, max(1, round(weight * STEPS)))


def _shades() -> str:
    """Green for full weight; for less both paler and nearer to orange, so that neither alone has to be seen."""
    rules = []
    for step in range(1, STEPS + 1):
        strength = step / STEPS
        hue = round(35 + 105 * strength)
        rules.append(f".w{step}{{background:hsl({hue} 75% 45%/{0.16 + 0.24 * strength:.2f});")
        rules.append(f"border-bottom:2px solid hsl({hue} 70% 42%)}}")
    return "".join(rules)


def _legend(showing: Showing, language: Language) -> Html:
    weights = sorted({token.weight for row in showing.rows for view in row.views for token in view.tokens})
    names = [
        tag("span", said("rows.weight", language, weight=f"{weight:.3g}"), cls=f"t w{shade(weight)}")
        for weight in weights
    ]
    marks = [tag("span", said("show.control", language), cls="k"), tag("span", said("show.hover", language), cls="dim")]
    return tag("p", *names, *marks, cls="legend")


def _entry(number: int, row: Shown, language: Language) -> Html:
    return tag("li", tag("a", row.where, href=f"#row-{number}"), " ", said(f"show.short.{row.verdict}", language))


def _row(number: int, row: Shown, showing: Showing, language: Language) -> Html:
    said_of = tag("p", tag("span", verdict(row, showing.cutoff_len, language), cls=f"verdict v-{row.verdict}"))
    letter = ""
    if row.error is not None:
        letter = tag("ul", tag("li", *(tag("p", line) for line in _lines(row, language)), cls="error"), cls="found")
    parts = []
    for part, view in enumerate(row.views, 1):
        if len(row.views) > 1:
            parts.append(tag("h3", said("show.part", language, number=part, count=len(row.views))))
        parts.append(_view(view, showing.cutoff_len, language))
    return tag("section", tag("h2", row.where), said_of, letter, *parts, id=f"row-{number}")


def _lines(row: Shown, language: Language) -> list[str]:
    return [line for line in (row.error.letter(language) if row.error else "").splitlines() if line.strip()]


def _view(view: View, cutoff: int, language: Language) -> Html:
    spans = []
    for number, token in enumerate(view.tokens):
        if number == cutoff:
            spans.append(tag("span", said("show.cut", language, cutoff=cutoff), cls="cut"))
        spans.append(_token(number, token, view, language))
    shown = tag("pre", *spans, cls="row", dir="auto")
    heads = [said(f"show.head.{name}", language) for name in ("source", "tokens", "trained", "weights")]
    table = _table(heads, _turns(view, language), (1, 2))
    heads = [said(f"show.head.{name}", language) for name in ("number", "id", "text", "weight", "source")]
    every = _table(heads, _tokens(view, language), (0, 1, 3))
    return join([shown, table, tag("details", tag("summary", said("show.every", language)), every)])


def _token(number: int, token: Token, view: View, language: Language) -> Html:
    about = f"{number} · id {token.id} · {said('rows.weight', language, weight=f'{token.weight:.3g}')}"
    about += f" · {source_of(token, view, language)}"
    kinds = ["t", f"w{shade(token.weight)}" if token.weight else "", "k" if token.control else ""]
    if token.message == FROM_TEMPLATE and not token.control and not token.weight:
        kinds.append("h")
    if token.control:
        about += f" · {said('show.control', language)}"
    return tag("span", *_visible(token.text), cls=" ".join(kind for kind in kinds if kind), title=about)


def _visible(text: str) -> Iterator[object]:
    """White space that is trained has to be seen: a sign before each line break and tab."""
    rest = ""
    for sign in text:
        if sign in SIGNS:
            yield rest
            rest = ""
            yield tag("span", SIGNS[sign], cls="s", aria_hidden="true")
        rest += sign
    yield rest or ("" if text else "·")


def _turns(view: View, language: Language) -> Iterator[tuple[object, ...]]:
    for turn in turns(view):
        name = said("show.template", language)
        if turn.source != FROM_TEMPLATE:
            name = f"{turn.source + 1} {role_of(turn.source, view)}".strip()
        yield name, turn.tokens, turn.trained, ", ".join(f"{weight:.3g}" for weight in sorted(turn.weights)) or "0"


def _tokens(view: View, language: Language) -> Iterator[tuple[object, ...]]:
    for number, token in enumerate(view.tokens):
        shown = tag("code", repr(token.text)[1:-1], cls="k" if token.control else None)
        yield number, token.id, shown, f"{token.weight:.3g}", source_of(token, view, language)


def _table(heads: list[str], rows: Iterator[tuple[object, ...]], numbers: tuple[int, ...]) -> Html:
    def line(kind: str, cells: tuple[object, ...]) -> Html:
        return tag("tr", *(tag(kind, cell, cls="num" if at in numbers else None) for at, cell in enumerate(cells)))

    return tag("table", line("th", tuple(heads)), *(line("td", cells) for cells in rows))
