"""`clean`: a data file into a better one, with a list of what went and why; without a rule, what there is to find.

In: `IN OUT --drop REGEX ...` and a screen. Out: counts by rule with the first place of each, and the exit code. What a
rule does is `data.cleaning`'s, the order of things `recipes.clean`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_factory.apps.options import FLAG, Given, Option, listed, one_of, share, take, whole
from llama_factory.apps.telling import heard
from llama_factory.apps.words import said
from llama_factory.errors import InputError

if TYPE_CHECKING:
    from llama_factory.apps.screen import Screen
    from llama_factory.data.cleaning import Rules
    from llama_factory.recipes.clean import Cleaned

NEARLY = 0.8
ON_BAD_ROW = Option(("error|skip",), one_of("error", "skip"))

OPTIONS: Mapping[str, Option] = {
    "drop": Option(("REGEX",), many=True),
    "replace": Option(("REGEX", "TEXT"), many=True),
    "whitespace": FLAG,
    "unicode": Option(("nfc|nfkc",), one_of("nfc", "nfkc"), alone="nfc"),
    "duplicates": FLAG,
    "near-duplicates": Option(("LIKENESS",), share, alone=NEARLY),
    "min-characters": Option(("N",), whole),
    "max-characters": Option(("N",), whole),
    "min-words": Option(("N",), whole),
    "max-words": Option(("N",), whole),
    "min-tokens": Option(("N",), whole),
    "max-tokens": Option(("N",), whole),
    "model-name-or-path": Option(("MODEL",)),
    "language": Option(("en,zh",), listed),
    "against": Option(("FILE",), many=True),
    "fields": Option(("KEY,KEY",), listed),
    "report": Option(("PATH.json",)),
    "dry-run": FLAG,
    "on-bad-row": ON_BAD_ROW,
    "overwrite": FLAG,
}


def clean(words: Sequence[str], screen: Screen, environ: Mapping[str, str]) -> int:
    from llama_factory.recipes import clean as recipe

    given = take("clean", words, OPTIONS)
    source, target = _files(given)
    rules = _rules(given)
    progress = heard(screen)
    if not (rules.mends or rules.drops or given.has("against")):
        if target is not None:
            raise InputError("apps.clean-nothing-asked", where=target)
        _surveyed(recipe.survey(source, progress=progress), screen)
        return 0
    if target is None and not given.has("dry-run"):
        raise InputError("apps.clean-no-target", where=source)
    report = Path(given["report"]) if given.has("report") else None
    found = recipe.clean(
        source,
        None if given.has("dry-run") else target,
        rules,
        against=tuple(Path(one) for one in given.all("against")),
        report=report,
        on_bad_row=given["on-bad-row"] or "error",
        overwrite=given.has("overwrite"),
        progress=progress,
    )
    _told(found, None if given.has("dry-run") else target, report, screen)
    return 0


def _files(given: Given) -> tuple[Path, Path | None]:
    if not given.rest:
        raise InputError("apps.no-input", command="clean")
    if len(given.rest) > 2:
        raise InputError("apps.too-many-words", command="clean", expected="IN OUT", found=given.rest[2])
    return Path(given.rest[0]), Path(given.rest[1]) if len(given.rest) == 2 else None


def _rules(given: Given) -> Rules:
    from llama_factory.data.cleaning import Rules, language_teller

    def lengths(name: str) -> tuple[int | None, int | None]:
        least, most = given[f"min-{name}"], given[f"max-{name}"]
        if least is not None and most is not None and least > most:
            raise InputError("apps.clean-lengths", name=name, least=least, most=most)
        return least, most

    tokens = lengths("tokens")
    return Rules(
        drop=given.all("drop"),
        replace=given.all("replace"),
        whitespace=given.has("whitespace"),
        unicode=given["unicode"],
        duplicates=given.has("duplicates"),
        near=given["near-duplicates"],
        characters=lengths("characters"),
        words=lengths("words"),
        tokens=tokens,
        languages=tuple(one.lower() for one in given["language"] or ()),
        fields=given["fields"] or (),
        count_tokens=_counter(given["model-name-or-path"]) if tokens != (None, None) else None,
        language_of=language_teller() if given.has("language") else None,
    )


def _counter(model: str | None) -> Callable[[str], int]:
    """Tokens of a text by the model's own tokenizer, without what a template would add."""
    from llama_factory.model.locate import locate
    from llama_factory.render.tokenizer import open_tokenizer

    if model is None:
        raise InputError("apps.clean-no-model")
    rust = open_tokenizer(locate(model)).rust
    return lambda text: len(rust.encode(text, add_special_tokens=False).ids)


def _told(found: Cleaned, target: Path | None, report: Path | None, screen: Screen) -> None:
    language = screen.language
    dropped = found.read - found.kept
    values = {"read": found.read, "kept": found.kept, "dropped": dropped, "changed": found.rows_changed}
    screen.line(said("clean.counts", language, **values))
    rows = []
    for word, counts in (("clean.dropped", found.dropped), ("clean.changed", found.changed)):
        for rule, count in counts.most_common():
            name = f"--{rule}" if rule in OPTIONS else rule
            rows.append((name, said(word, language, count=count, first=found.firsts[rule])))
    screen.table(rows)
    if found.emptied:
        screen.line(said("clean.emptied", language, count=found.emptied, first=found.firsts["emptied"]))
    if report is not None:
        screen.line(said("clean.report", language, path=report))
    screen.line(said("clean.wrote", language, path=target) if target else said("clean.dry", language))


def _surveyed(found: Any, screen: Screen) -> None:
    language = screen.language
    p50, p95, longest = found.characters
    screen.line(said("clean.survey", language, read=found.read, p50=p50, p95=p95, longest=longest))
    counts = (
        ("bad-row", "bad", "--on-bad-row skip"),
        ("duplicates", "duplicates", "--duplicates"),
        ("near", "near", "--near-duplicates"),
        ("whitespace", "whitespace", "--whitespace"),
        ("unicode", "unicode", "--unicode nfc"),
    )
    rows = []
    for first, name, option in counts:
        count = getattr(found, name)
        if count is None:
            rows.append((option, said("clean.needs", language, install="pip install rensa")))
        else:
            place = said("clean.place", language, first=found.firsts[first]) if count else ""
            rows.append((option, said("clean.would", language, count=count) + place))
    languages = said("clean.needs", language, install="pip install py3langid")
    if found.languages is not None:
        languages = ", ".join(f"{code} {count}" for code, count in found.languages.items()) or "-"
        looked = sum(found.languages.values())
        if looked < found.read:
            languages += said("clean.of-some", language, looked=looked)
    screen.table([*rows, ("--language", languages)])
    screen.line(said("clean.nothing-written", language))
