"""docs/templates.md lists every named template as the code has it. `python tests/repository/test_templates_page.py`
writes the table anew."""

from __future__ import annotations

from pathlib import Path

from llama_factory.render.templates import TEMPLATES, Written

PAGE = Path(__file__).parents[2] / "docs" / "templates.md"
HEAD = "| `template:` | ends an answer | thinks | tools | default system text |\n|---|---|---|---|---|\n"


def row(names: list[str], forms: tuple[Written, ...]) -> str:
    first = forms[0]
    stops = " ".join("end of text" if stop == "{eos}" else f"`{stop}`" for stop in first.stops)
    system = first.default_system.replace("\n", " ").strip() or "-"
    thinks = {"never": "-", "optional": "yes, or not", "always": "yes"}[first.thinking]
    cells = (", ".join(f"`{name}`" for name in names), stops, thinks, "yes" if first.tools else "-", system)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def table() -> str:
    alike: dict[tuple[Written, ...], list[str]] = {}
    for name, forms in TEMPLATES.items():
        alike.setdefault(forms, []).append(name)
    return HEAD + "".join(row(names, forms) for forms, names in alike.items())


def test_the_page_holds_the_table_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table().count("\n| `") == len(set(TEMPLATES.values())) >= 50
    assert table() in page


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("| `template:` |")
    PAGE.write_text(before + table() + "\n" + rest.partition("\n\n")[2], encoding="utf-8")
