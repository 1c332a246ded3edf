"""`show`: rows of the data as the model will read them, in the terminal, as JSON or as one page.

In: `FILE.yaml KEY=VALUE row=812 --random --html PATH` and a screen. Out: each row's text with what is trained of it,
its turns, its tokens when asked for. Which rows and what becomes of them is `recipes.show`'s; here it is only shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.apps.options import FLAG, Option, listed, take, whole
from llama_factory.apps.rows import as_text, legend, printable
from llama_factory.apps.telling import heard, tell
from llama_factory.apps.words import said
from llama_factory.apps.work import read
from llama_factory.errors import InputError
from llama_factory.records import FROM_TEMPLATE

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.recipes.show import Showing, Shown, View, Wanted
    from llama_factory.render.shown import Token

OPTIONS: Mapping[str, Option] = {
    "row": Option(("812|train.jsonl:812",), listed, many=True),
    "first": Option(("N",), whole, alone=1),
    "random": Option(("N",), whole, alone=1),
    "longest": Option(("N",), whole, alone=1),
    "tokens": FLAG,
    "html": Option(("PATH",)),
    "json": FLAG,
    "overwrite": FLAG,
}


def show(words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    from llama_factory import storage
    from llama_factory.recipes import show as recipe

    given = take("show", words, OPTIONS, others=True)
    wanted = _wanted(given.values, recipe.Wanted)
    path = Path(given["html"]) if given.has("html") else None
    if path is not None and not given.has("overwrite"):
        _must_be_new(path)
    showing = recipe.show(read("show", given.rest), wanted, cache=storage.cache_folder(environ), progress=heard(screen))
    if path is not None:
        _write(path, showing, screen, replace=given.has("overwrite"))
    if given.has("json"):
        screen.line(json.dumps(as_json(showing, screen), ensure_ascii=False))
    elif path is None:
        tell(showing.notices, screen, screen.note)
        _to_terminal(showing, screen, every_token=given.has("tokens"))
    bad = [row.error for row in showing.rows if row.error is not None]
    return bad[0].exit_code if bad and len(bad) == len(showing.rows) else 0


def _wanted(values: Mapping[str, Any], make: type[Wanted]) -> Wanted:
    ways = [name for name in ("row", "first", "random", "longest") if name in values]
    if len(ways) > 1:
        raise InputError("apps.show-one-way", first=ways[0], second=ways[1])
    if not ways:
        return make()
    if ways == ["row"]:
        return make(rows=tuple(dict.fromkeys(name for names in values["row"] for name in names)))
    return make(how=ways[0], count=values[ways[0]])  # type: ignore[arg-type]


def _must_be_new(path: Path) -> None:
    if path.exists():
        raise InputError("apps.file-there", where=path)


def _write(path: Path, showing: Showing, screen: Screen, *, replace: bool) -> None:
    from llama_factory import storage
    from llama_factory.apps.rowpage import page

    data = page(showing, screen.language).encode()
    storage.write_stream(path, lambda file: _all_of(file, data), replace=replace)
    screen.note(said("show.wrote", screen.language, path=path, rows=len(showing.rows)))


def _all_of(file: Any, data: bytes) -> None:
    file.write(data)


# --- the terminal ---------------------------------------------------------------------------------------------


def _to_terminal(showing: Showing, screen: Screen, *, every_token: bool) -> None:
    tell_in = screen.language
    weights = [token.weight for row in showing.rows for view in row.views for token in view.tokens]
    screen.line(said("show.by", tell_in, template=showing.template, tokenizer=showing.tokenizer))
    if any(weights):
        screen.line(f"{said('check.samples', tell_in)} {legend(weights, screen)}")
    for row in showing.rows:
        screen.line()
        screen.line(screen.bold(f"--- {row.where}") + f"  {verdict(row, showing.cutoff_len, tell_in)}")
        if row.error is not None:
            screen.line(row.error.letter(tell_in))
        for number, view in enumerate(row.views, 1):
            if len(row.views) > 1:
                screen.line(screen.bold(said("show.part", tell_in, number=number, count=len(row.views))))
            _view(view, screen, every_token=every_token)


def _view(view: View, screen: Screen, *, every_token: bool) -> None:
    from llama_factory.render.shown import pieces

    screen.line(as_text(pieces(view.tokens, apart=screen.colour_out), screen))
    screen.line()
    screen.table([row.cells(screen) for row in turns(view)])
    if every_token:
        screen.line()
        screen.table([_cells(number, token, view, screen) for number, token in enumerate(view.tokens)])


def _cells(number: int, token: Token, view: View, screen: Screen) -> tuple[str, ...]:
    mark = said("show.control", screen.language) if token.control else ""
    return (
        str(number), str(token.id), f"{token.weight:.3g}", source_of(token, view, screen.language), mark,
        repr(printable(token.text)),
    )  # fmt: skip


class Turn:
    """The tokens of one message, or all that the template wrote."""

    def __init__(self, source: int, role: str, tokens: Sequence[Token]) -> None:
        self.source, self.role = source, role
        self.tokens = len(tokens)
        self.weights = Counter(token.weight for token in tokens if token.weight != 0)
        self.trained = sum(self.weights.values())

    def cells(self, screen: Screen) -> tuple[str, ...]:
        language = screen.language
        name = said("show.template", language) if self.source == FROM_TEMPLATE else f"{self.source + 1} {self.role}"
        weights = ", ".join(f"{weight:.3g}" for weight in sorted(self.weights)) if self.weights else "0"
        return name.strip(), said("show.turn", language, tokens=self.tokens, trained=self.trained, weights=weights)


def turns(view: View) -> list[Turn]:
    by_source: dict[int, list[Token]] = {}
    for token in view.tokens:
        by_source.setdefault(token.message, []).append(token)
    ordered = sorted(by_source.items(), key=lambda item: (item[0] == FROM_TEMPLATE, item[0]))
    return [Turn(source, role_of(source, view), tokens) for source, tokens in ordered]


def role_of(source: int, view: View) -> str:
    return view.roles[source] if 0 <= source < len(view.roles) else ""


def source_of(token: Token, view: View, language: Any) -> str:
    if token.message == FROM_TEMPLATE:
        return said("show.template", language)
    return f"{token.message + 1} {role_of(token.message, view)}".strip()


def verdict(row: Shown, cutoff_len: int, language: Any) -> str:
    trained = sum(view.trained for view in row.views)
    values = {"length": row.length, "cutoff": cutoff_len, "trained": trained, "parts": len(row.views)}
    return said(f"show.{row.verdict}", language, **values)


# --- JSON -----------------------------------------------------------------------------------------------------


def as_json(showing: Showing, screen: Screen) -> dict[str, Any]:
    return {
        "template": showing.template,
        "tokenizer": showing.tokenizer,
        "cutoff_len": showing.cutoff_len,
        "rows": [_row(row, screen) for row in showing.rows],
    }


def _row(row: Shown, screen: Screen) -> dict[str, Any]:
    error = row.error and {"id": row.error.id, "letter": row.error.letter(screen.language)}
    return {
        "where": row.where,
        "verdict": row.verdict,
        "length": row.length,
        "error": error,
        "examples": [
            {"text": view.text, "roles": list(view.roles), "tokens": [_token(token) for token in view.tokens]}
            for view in row.views
        ],
    }


def _token(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token.text,
        "weight": token.weight,
        "message": None if token.message == FROM_TEMPLATE else token.message,
        "control": token.control,
    }
