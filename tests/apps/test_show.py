"""`show`: the rows that `train` would see, as text, as JSON and as a page; and what is refused."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llama_factory import data
from llama_factory.apps.cli import main
from llama_factory.apps.rowpage import STEPS, shade
from llama_factory.config import from_mapping
from llama_factory.recipes.show import MOST, Wanted, show
from llama_factory.render.renderer import load_renderer

EVIL = '</pre><script>alert("x")</script><img src=x onerror=alert(1)>'
LONG = "This and that and more. " * 40


def turns(*said: str, **last: Any) -> dict[str, Any]:
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    messages[-1].update(last)
    return {"messages": messages}


ROWS = [
    turns("Who are you?", "I am a model."),
    turns("Half?", "Only half.", weight=0.5),
    turns("No answer."),
    turns("Tell me all.", LONG),
    turns("First?", "One.", "Second?", LONG),
    turns(EVIL, "<b>bold</b> & 你好 🙂"),
]

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """`told("row=2", cutoff_len=128)`: exit code, stdout and stderr of `show` on the rows above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "en")
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def run(*words: str, **keys: Any) -> tuple[int, str, str]:
        given = {"model_name_or_path": tiny_model, "dataset": "rows.jsonl"} | keys
        code = main(["show", *(f"{key}={value}" for key, value in given.items()), *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


def shown(told: Told, *words: str, **keys: Any) -> dict[str, Any]:
    code, out, err = told(*words, "--json", **keys)
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_first_row_is_shown_with_what_is_trained_of_it_in_brackets(told: Told) -> None:
    code, out, err = told()
    assert (code, err) == (0, "")
    assert "--- rows.jsonl:1" in out
    assert "[[I am a model.<|im_end|>]]" in out
    assert "\x1b" not in out
    assert re.search(r"2 assistant +\d+ tokens, \d+ trained \(weight 1\)", out)


def test_a_weight_between_0_and_1_is_said(told: Told) -> None:
    code, out, _ = told("row=2")
    assert code == 0
    assert "[[0.5: Only half.<|im_end|>]]" in out
    assert "[[weight 0.5]]" in out


def test_every_token_is_listed_on_demand(told: Told) -> None:
    _, out, _ = told("--tokens")
    assert re.search(r"0 +\d+ +0 +template +control +'<\|im_start\|>'", out)
    (found,) = shown(told)["rows"]
    assert len(re.findall(r"^ +\d+ +\d+ +[\d.]+ +(?:template|\d )", out, re.MULTILINE)) == found["length"]


def test_the_tokens_and_weights_are_those_that_train_stores(told: Told, tiny_model: Path, tmp_path: Path) -> None:
    keys = {"cutoff_len": 128, "on_too_long": "truncate", "on_bad_row": "skip"}
    run = from_mapping({"model_name_or_path": str(tiny_model), "dataset": "rows.jsonl", **keys}, "test")
    store = data.prepare(run, load_renderer(tiny_model), cache=tmp_path / "cache", say=lambda _: None).train
    stored = {
        str(row.origin): (row.ids_T.tolist(), row.weight_T.tolist(), row.message_T.tolist())
        for row in (store.row(number) for number in range(len(store)))
    }
    found = shown(told, "--first", "6", **keys)["rows"]
    assert len(stored) == 5
    assert {row["where"] for row in found if row["error"] is None} == set(stored)
    for row in found:
        if row["error"] is None:
            (example,) = row["examples"]
            columns = [[token[key] for token in example["tokens"]] for key in ("id", "weight", "message")]
            columns[2] = [-1 if one is None else one for one in columns[2]]
            assert tuple(columns) == stored[row["where"]]


def test_a_row_that_is_split_is_shown_in_its_parts_each_with_its_number(told: Told) -> None:
    code, out, _ = told("row=5", cutoff_len=400, on_too_long="split")
    assert code == 0
    assert "part 1 of" in out or "[[One.<|im_end|>]]" in out
    (row,) = shown(told, "row=5", cutoff_len=60, on_too_long="split")["rows"]
    assert row["verdict"] == "shortened"


def test_a_row_that_is_left_out_is_shown_whole_and_says_so(told: Told) -> None:
    code, out, _ = told("row=4", cutoff_len=64)
    assert code == 0
    assert "more than cutoff_len 64: left out" in out
    (row,) = shown(told, "row=4", cutoff_len=64)["rows"]
    assert row["verdict"] == "too-long"
    assert len(row["examples"][0]["tokens"]) == row["length"] > 64


def test_a_row_that_is_refused_is_answered_with_its_letter_and_code_3(told: Told) -> None:
    code, out, _ = told("row=3")
    assert code == 3
    assert "rows.jsonl:3: expected the dialogue to end with the assistant" in out
    assert told("row=1,3")[0] == 0


@pytest.mark.parametrize("name", ["2", "rows.jsonl:2"])
def test_a_row_is_named_by_its_number_or_as_letters_name_it(told: Told, name: str) -> None:
    (row,) = shown(told, f"row={name}")["rows"]
    assert row["where"] == "rows.jsonl:2"


def test_rows_come_in_the_order_in_which_they_were_named(told: Told) -> None:
    assert [row["where"] for row in shown(told, "row=6,1", "--row", "2")["rows"]] == [
        "rows.jsonl:6", "rows.jsonl:1", "rows.jsonl:2",
    ]  # fmt: skip


def test_a_row_of_the_validation_data_is_found_by_its_place(told: Told, tmp_path: Path) -> None:
    (tmp_path / "judged.jsonl").write_text(json.dumps(turns("And?", "So.")) + "\n", encoding="utf-8")
    (row,) = shown(told, "row=judged.jsonl:1", eval_dataset="judged.jsonl")["rows"]
    assert row["where"] == "judged.jsonl:1"


def test_the_longest_rows_are_those_with_the_most_tokens_even_where_they_are_left_out(told: Told) -> None:
    lengths = {row["where"]: row["length"] for row in shown(told, "--first", "6", cutoff_len=64)["rows"]}
    found = shown(told, "--longest", "3", cutoff_len=64)["rows"]
    wanted = sorted(lengths, key=lambda where: lengths[where], reverse=True)[:3]
    assert [row["where"] for row in found] == wanted


def test_random_rows_follow_the_seed_and_reach_every_row(told: Told) -> None:
    def drawn(seed: int, *words: str) -> list[str]:
        return [row["where"] for row in shown(told, "--random", *words, seed=seed)["rows"]]

    assert drawn(7, "3") == drawn(7, "3")
    assert len(set(drawn(7, "3"))) == 3
    run_of = {one for seed in range(40) for one in drawn(seed, "2")}
    assert len(run_of) == len(ROWS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("row=99",), "there is no row `99`; the last one that was read is `rows.jsonl:6`"),
        (("--random", "--longest"), "`random` and `longest` both say"),
        (("row=1", "row=2", "--first"), "`row` and `first` both say"),
        (("--first", str(MOST + 1)), f"at most {MOST} rows"),
        (("--html",), "expected `--html` to be followed by PATH"),
        (("--tokens", "--tokens"), "`--tokens` was given twice"),
        (("learning_rat=1",), "learning_rat"),
        (("dataset=nowhere.jsonl",), "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_short_letter(told: Told, words: tuple[str, ...], hint: str) -> None:
    code, out, err = told(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert len(err.strip().splitlines()) <= 3


def test_what_it_needs_is_asked_for_and_no_more(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dataset=rows.jsonl"]) == 2
    letter = capsys.readouterr().err
    assert "model_name_or_path" in letter
    assert "output_dir" not in letter


# --- the page -------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Every element with its attributes, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_every_token_and_nothing_that_is_fetched_or_run(told: Told, tmp_path: Path) -> None:
    code, out, err = told("row=1,2,3,4,6", "--html", "rows.html", cutoff_len=64)
    assert (code, out) == (0, "")
    assert "Wrote 5 rows to rows.html" in err
    text = (tmp_path / "rows.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert {tag for tag, _ in page.elements} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "ol", "ul", "li", "a", "section",
        "pre", "table", "tr", "th", "td", "details", "summary", "code",
    }  # fmt: skip
    assert not re.search(r"https?:|url\(|@import", text)
    assert all(key not in ("src", "onerror", "style") for _, attrs in page.elements for key in attrs)
    links = [str(attrs["href"]) for tag, attrs in page.elements if tag == "a"]
    ids = {attrs.get("id") for tag, attrs in page.elements if tag == "section"}
    assert {link.removeprefix("#") for link in links} == ids
    assert EVIL in page.text.replace("\u200b", "")
    assert "expected the dialogue to end with the assistant" in page.text
    rows = shown(told, "row=1,2,3,4,6", cutoff_len=64)["rows"]
    tokens = sum(len(example["tokens"]) for row in rows for example in row["examples"])
    assert sum(tag == "span" and " · id " in str(attrs.get("title")) for tag, attrs in page.elements) == tokens > 200
    assert any(attrs.get("class") == "cut" for _, attrs in page.elements)


def test_the_page_speaks_chinese(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_FACTORY_LANG", "zh")
    assert told("--html", "rows.html")[0] == 0
    text = (tmp_path / "rows.html").read_text(encoding="utf-8")
    assert 'lang="zh-CN"' in text
    assert "模型看到的数据行" in html.unescape(text)


def test_a_second_page_needs_another_name_or_leave(told: Told, tmp_path: Path) -> None:
    (tmp_path / "rows.html").write_text("mine")
    code, _, err = told("--html", "rows.html")
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "rows.html").read_text() == "mine"
    assert told("--html", "rows.html", "--overwrite")[0] == 0
    assert (tmp_path / "rows.html").read_text().startswith("<!doctype html>")


def test_a_small_weight_never_looks_like_none() -> None:
    assert [shade(weight) for weight in (0, 0.001, 0.1, 0.5, 1, 3)] == [0, 1, 1, 5, STEPS, STEPS]


def test_rows_in_python(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n", encoding="utf-8")
    run = from_mapping({"model_name_or_path": str(tiny_model), "dataset": str(file)}, "test")
    (row,) = show(run, Wanted(), cache=tmp_path).rows
    (view,) = row.views
    assert "".join(token.text for token in view.tokens) == view.text
    assert view.roles == ("user", "assistant")


def test_it_loads_no_torch(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n", encoding="utf-8")
    words = ["show", f"model_name_or_path={tiny_model}", "dataset=rows.jsonl", "--html", "p.html"]
    code = (
        f"import sys\nfrom llama_factory.apps.cli import main\nassert main({words!r}) == 0\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_colours_stand_for_weights_on_a_terminal(terminal: Any, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    words = ("show", f"model_name_or_path={tiny_model}", "dataset=rows.jsonl", "row=1,2")
    screen = terminal(*words)
    assert screen.end() == 0
    assert "\x1b[32mI am a model.\x1b[0m" in screen.shown
    assert "\x1b[33mOnly half.\x1b[0m" in screen.shown
    plain = terminal(*words, NO_COLOR="1")
    assert plain.end() == 0
    assert "\x1b" not in plain.shown
    assert "[[0.5: Only half.<|im_end|>]]" in plain.shown
