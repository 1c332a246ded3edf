"""`report.html`: one page that says what became of a run, why, and what to do next.

In: `Facts`. Out: the text of a file that opens anywhere: no script, no picture, no font and no style from elsewhere,
light or dark as the reader's system is, and as wide as the screen. All that a row, a path or a library says is text
in it and never markup (`markup`). It reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from statistics import fmean

import numpy as np

from llama_factory.errors import letter
from llama_factory.records import Finding
from llama_factory.runs import chart
from llama_factory.runs.facts import Answered, Facts
from llama_factory.runs.markup import Html, join, tag
from llama_factory.runs.words import STYLE, WORDS

NAME = "report.html"
SAMPLE_TOKENS = 48
"""Of an answer that the page shows: long enough to see what changed."""
LANGUAGES = {"en": "en", "zh": "zh-CN"}
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(facts: Facts) -> str:
    """The whole file."""
    body = [
        tag("h1", facts.title),
        tag("p", facts.about, cls="dim"),
        _ending(facts),
        _figures(facts),
        _health(facts),
        _section(facts, "noticed", _findings(facts, facts.noticed) if facts.noticed else ""),
        _section(facts, "curves", _curves(facts)),
        _samples(facts),
        _commands(facts),
        _data(facts),
        _foreseen(facts),
        _section(facts, "checked", _findings(facts, facts.checked)),
        _section(facts, "files", _table((name, size(count)) for name, count in facts.files) if facts.files else ""),
        _folded(facts, "environment", _table(facts.environment)),
        _folded(facts, "configuration", tag("pre", facts.configuration)),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=NO_SCRIPT),
        tag("title", f"{WORDS[facts.language][facts.ending.kind]}: {facts.title}"),
        tag("style", Html(STYLE)),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang=LANGUAGES[facts.language])}\n"


def size(count: int) -> str:
    """Bytes as people say them."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _ending(facts: Facts) -> Html:
    words, end = WORDS[facts.language], facts.ending
    said = [line for line in end.text.splitlines() if line.strip()] or [words.get(f"said-{end.kind}", "")]
    command = [tag("p", words["resume"]), tag("pre", end.command)] if end.command else []
    return tag(
        "div", tag("strong", words[end.kind]), *(tag("p", line) for line in said), *command, cls=f"end {end.kind}"
    )


MARKED = ("trainer.loss-spike", "trainer.batch-skipped")
"""Drawn across the curve of the loss."""


def _marked(found: Sequence[Finding]) -> list[int]:
    return sorted({one.values["step"] for one in found if one.id in MARKED})


def _health(facts: Facts) -> Html:
    """How often what happened, then each with its step; a run that nothing was noticed about says so."""
    words = WORDS[facts.language]
    if not facts.log and not facts.health:
        return Html("")
    if not facts.health:
        return _section(facts, "health", tag("p", words["healthy"], cls="dim"))
    by_id = Counter(one.id for one in facts.health)
    halved = [one.values["now"] for one in facts.health if one.id == "trainer.micro-batch-halved"]
    counted = [
        ("health-skipped", by_id["trainer.batch-skipped"]),
        ("health-spikes", by_id["trainer.loss-spike"]),
        ("health-halved", f"{min(halved):,} {words['tokens']}" if halved else ""),
        ("health-others", sum(by_id.values()) - sum(by_id[id] for id in (*MARKED, "trainer.micro-batch-halved"))),
    ]
    cards = tag("dl", *(tag("div", tag("dt", words[name]), tag("dd", said)) for name, said in counted if said),
                cls="cards")  # fmt: skip
    return _section(facts, "health", join([cards, _findings(facts, facts.health)]))


def _figures(facts: Facts) -> Html:
    """The few numbers that a reader looks for first; those that nobody measured are left out."""
    words, log = WORDS[facts.language], facts.log
    if not log:
        return tag("p", words["no-log"], cls="dim")
    last = log[-1]
    train, judged = _series(facts, "loss"), _series(facts, "eval_loss")
    shown = [
        ("steps", f"{last['current_steps']:,} / {last['total_steps']:,}"),
        ("epochs", f"{last.get('epoch', 0):.2f}"),
        ("time", str(last.get("elapsed_time", ""))),
        ("first-loss", f"{train[0][1]:.4f}" if train else ""),
        ("last-loss", f"{train[-1][1]:.4f}" if train else ""),
        ("best-eval", f"{min(y for _, y in judged):.4f}" if judged else ""),
        ("last-eval", f"{judged[-1][1]:.4f}" if judged else ""),
    ]
    for key, name, form, of in (
        ("tokens_per_second", "speed", "{:,.0f} tokens/s", fmean),
        ("memory_gb", "memory", "{:.2f} GB", max),
        ("cpu_percent", "cpu", "{:.0f} %", fmean),
        ("gpu_percent", "gpu", "{:.0f} %", fmean),
    ):
        values = [y for _, y in _series(facts, key)]
        shown.append((name, form.format(of(values)) if values else ""))
    return tag(
        "dl", *(tag("div", tag("dt", words[name]), tag("dd", said)) for name, said in shown if said), cls="cards"
    )


def _curves(facts: Facts) -> Html:
    words = WORDS[facts.language]
    train, judged = _series(facts, "loss"), _series(facts, "eval_loss")
    smooth = list(facts.smoothed) if len(train) >= 20 else []
    losses = [
        chart.Curve(words["training-raw" if smooth else "training"], train, faint=bool(smooth)),
        chart.Curve(words["training-smooth"], smooth),
        chart.Curve(words["validation"], judged, "c2", dotted=len(judged) <= 40),
    ]
    marks = [chart.Mark(f"{words['step']} {at}", at, "c3") for at in _marked(facts.health)]
    singles = (
        ("learning-rate", "lr", "", True), ("gradient", "grad_norm", "", True),
        ("tokens-per-second", "tokens_per_second", "tokens/s", True), ("memory-curve", "memory_gb", "GB", False),
    )  # fmt: skip
    figures = [_figure(facts, "loss", losses, "", marks=marks)]
    for word, key, unit, from_zero in singles:
        figures.append(_figure(facts, word, [chart.Curve(words[word], _series(facts, key))], unit, from_zero=from_zero))
    drawn = [figure for figure in figures if figure]
    return tag("div", *drawn, cls="charts") if drawn else Html("")


def _figure(
    facts: Facts, word: str, drawn: Sequence[chart.Curve], unit: str, *, from_zero: bool = False,
    marks: Sequence[chart.Mark] = (),
) -> Html:  # fmt: skip
    words = WORDS[facts.language]
    picture = chart.curves(words[word], drawn, x_unit=words["step"], y_unit=unit, from_zero=from_zero, marks=marks)
    shown = [curve for curve in drawn if curve.points]
    if not picture:
        return Html("")
    names = [
        tag("span", tag("i", cls=f"{curve.css} faint" if curve.faint else curve.css), curve.name)
        for curve in shown
        if len(shown) > 1
    ] + ([tag("span", tag("i", cls="c3"), words["marked"])] if marks else [])
    return tag("figure", tag("figcaption", words[word], tag("span", *names, cls="legend") if names else ""), picture)


def _samples(facts: Facts) -> Html:
    if not facts.answered:
        return Html("")
    words = WORDS[facts.language]
    note = words["samples-note"].format(
        tokens=SAMPLE_TOKENS, step="-" if facts.after_step is None else facts.after_step
    )
    return _section(
        facts, "samples", join([tag("p", note, cls="dim"), *(_sample(facts, one) for one in facts.answered)])
    )


def _sample(facts: Facts, one: Answered) -> Html:
    words = WORDS[facts.language]
    answers = [("before", one.before), ("after", one.after), ("reference", one.reference)]
    columns = [
        tag("div", tag("h3", words[name]), tag("pre", said.strip() or words["empty"], dir="auto"))
        for name, said in answers
        if said is not None
    ]
    asked = [tag("h3", words["prompt"], " ", tag("span", one.origin, cls="dim")), tag("pre", one.prompt, dir="auto")]
    return tag("div", *asked, tag("div", *columns, cls="three"), cls="sample")


def _commands(facts: Facts) -> Html:
    words = WORDS[facts.language]
    lines = [join([tag("h3", words[name]), tag("pre", line)]) for name, line in facts.commands.items() if line]
    return _section(facts, "go-on", join(lines)) if lines else Html("")


def _data(facts: Facts) -> Html:
    """How long the rows are, where half of them and nearly all of them end, and the limit."""
    words = WORDS[facts.language]
    parts = [tag("p", line, cls="dim") for line in facts.data_lines]
    ordered = np.sort(np.asarray(facts.lengths, dtype=np.int64))
    if ordered.size:
        p50, p95, longest = (int(ordered[-(-len(ordered) * share // 100) - 1]) for share in (50, 95, 100))
        marks = [
            chart.Mark(f"p50 {p50}", p50),
            chart.Mark(f"p95 {p95}", p95),
            chart.Mark(f"{words['longest']} {longest}", longest),
        ]
        if facts.cutoff is not None and facts.cutoff <= 1.5 * longest:
            marks.append(chart.Mark(f"{words['cutoff']} {facts.cutoff}", facts.cutoff, "c3"))
        picture = chart.histogram(words["lengths"], ordered, marks, x_unit=words["tokens"], y_unit=words["rows"])
        limit = "" if facts.cutoff is None else f"{words['cutoff']}: {facts.cutoff}"
        caption = tag("figcaption", words["lengths"], tag("span", limit, cls="legend"))
        parts.append(tag("div", tag("figure", caption, picture), cls="charts"))
    return _section(facts, "data", join(parts))


def _findings(facts: Facts, found: Sequence[Finding]) -> Html:
    words = WORDS[facts.language]
    if not found:
        return tag("p", words["nothing-found"], cls="dim")
    items = []
    for one in found:
        said = [line for line in letter(one.id, one.where, one.values, facts.language).splitlines() if line.strip()]
        step = one.values.get("step")
        kind = words["health-at"].format(step=step) if one in facts.health else words[one.severity]
        head = tag("p", tag("b", kind), " ", tag("span", one.id, cls="dim"))
        items.append(tag("li", head, *(tag("p", line) for line in said), cls=one.severity))
    return tag("ul", *items, cls="found")


def _foreseen(facts: Facts) -> Html:
    """What the plan said before the weights were loaded, beside what the run took, where it came to its end."""
    words, said = WORDS[facts.language], facts.foreseen
    if said is None:
        return Html("")

    def row(name: str, planned: str, measured: str) -> tuple[str, str, str]:
        return words[name], words["planned"].format(said=planned), measured and words["measured"].format(said=measured)

    def clock(seconds: float | None) -> str:
        return "" if seconds is None else str(timedelta(seconds=round(seconds)))

    taken = size(said.measured_memory) if said.measured_memory is not None else ""
    rows = [row("memory", size(said.memory), taken)]
    if said.train_s is not None:
        rows.append(row("time", clock(said.train_s), clock(said.measured_s)))
    return _section(facts, "foreseen", _table(rows))


def _table(rows: Iterable[Sequence[str]]) -> Html:
    return tag("table", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))


def _section(facts: Facts, word: str, content: object) -> Html:
    return tag("section", tag("h2", WORDS[facts.language][word]), content) if content else Html("")


def _folded(facts: Facts, word: str, content: Html) -> Html:
    return tag("details", tag("summary", WORDS[facts.language][word]), content)


def _series(facts: Facts, key: str) -> list[chart.Point]:
    """One figure of the log over the steps; a later line about a step replaces an earlier one."""
    found = {line["current_steps"]: line[key] for line in facts.log if _is_number(line.get(key))}
    return chart.finite(sorted(found.items()))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
