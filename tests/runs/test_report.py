"""The page of a run: complete, in both languages, alone in the world, and deaf to what a row says."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_factory.records import Finding, Foreseen
from llama_factory.runs import Answered, Ending, Facts, page
from llama_factory.runs.words import WORDS

VOID = {"meta", "br"}
HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)>'\"&lt; \x00 \ud800 \u202e"


class Parsed(HTMLParser):
    """Elements, attributes and text; every element that opens must close in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def line(step: int, **figures: Any) -> dict[str, Any]:
    return {
        "current_steps": step, "total_steps": 30, "epoch": step / 10, "elapsed_time": "0:00:12", **figures,
    }  # fmt: skip


LOG = [
    *(
        line(
            step, loss=3 - step / 20, lr=1e-4, grad_norm=1.5, tokens_per_second=1200.0, memory_gb=1.5, cpu_percent=90.0,
            memory_percent=10.0,
        )
        for step in range(1, 31)
    ),
    line(15, eval_loss=1.9),
    line(30, eval_loss=2.1),
]  # fmt: skip


SPIKE = {"step": 12, "loss": "9.1", "usual": "2.0", "rows": "rows.jsonl:3 (11.20)"}
HALVED = {"step": 3, "tokens": 4096, "now": 1024, "reason": "can't allocate"}
HEALTH = [
    Finding("trainer.micro-batch-halved", "warning", "", HALVED),
    Finding("trainer.loss-spike", "warning", "", SPIKE),
    Finding("trainer.loss-spike", "warning", "", SPIKE | {"step": 20}),
    Finding("trainer.batch-skipped", "warning", "",
            {"step": 25, "found": "nan", "rows": "rows.jsonl:5", "number": 1, "allowed": 3}),
    Finding("trainer.updates-vanish", "warning", "",
            {"step": 30, "size": "1e-08", "limit": "1e-06", "rate": "1e-09"}),
]  # fmt: skip


def facts(**changes: Any) -> Facts:
    whole = Facts(
        language="en",
        title="saves/run",
        about="sft · lora · models/base",
        ending=Ending("finished"),
        log=LOG,
        smoothed=[(step, 3 - step / 20) for step in range(1, 31)],
        lengths=[10, 20, 20, 30, 100],
        cutoff=128,
        data_lines=["rows.jsonl: 5 rows"],
        answered=[Answered("rows.jsonl:1", "Who are you?", "I am Lumo.", "A model.", "I am Lumo!")],
        after_step=30,
        checked=[Finding("machine.no-bf16", "warning")],
        noticed=[Finding("trainer.no-checkpoint-yet", "note", "saves/run")],
        health=HEALTH,
        foreseen=Foreseen(1_540_000_000, 23.4, 1_730_000_000, 3_605.0),
        environment=[("torch", "2.13"), ("cpu", "a processor")],
        configuration="learning_rate: 0.0001\n",
        files=[("adapter_model.safetensors", 9_800_000)],
        commands={"chat": "llamafactory-cli chat a=b", "export": ""},
    )
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_holds_all_that_is_known(language: Any) -> None:
    found = Parsed(page(facts(language=language)))
    words = WORDS[language]
    for expected in (
        "saves/run", words["finished"], words["samples"], "Who are you?", "A model.", "I am Lumo!", "I am Lumo.",
        "adapter_model.safetensors", "9.8 MB", "llamafactory-cli chat a=b", "a processor", "learning_rate: 0.0001",
        "machine.no-bf16", "trainer.no-checkpoint-yet", "rows.jsonl: 5 rows", "p50 20", "p95 100", "30 / 30", "1.9000",
        "2.1000", "1,200 tokens/s", "1.50 GB", "90 %", words["health"], words["health-at"].format(step=12),
        "trainer.loss-spike", "rows.jsonl:3 (11.20)", f"1,024 {words['tokens']}",
    ):  # fmt: skip
        assert expected in found.text, expected
    assert found.tags.count("svg") == 6, "loss, rate, norm, speed, memory, lengths"
    assert words["export"] not in found.text, "there is no command for it"
    assert ("lang", "zh-CN" if language == "zh" else "en") in found.attributes
    assert not re.search(r"[\u4e00-\u9fff]", found.text) or language == "zh"


def cards(html: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html))


def test_what_was_noticed_is_counted_listed_by_step_and_marked_on_the_loss() -> None:
    html, words = page(facts()), WORDS["en"]
    found = cards(html)
    assert found[words["health-skipped"]] == "1"
    assert found[words["health-spikes"]] == "2"
    assert found[words["health-halved"]] == "1,024 tokens"
    assert found[words["health-others"]] == "1"
    assert re.findall(r"<b>step (\d+)</b>", html) == ["3", "12", "20", "25", "30"]
    loss = re.search(r"<svg[^>]*aria-label=\"Loss\".*?</svg>", html)
    assert loss
    assert re.findall(r"<line[^>]*class=\"mark c3\"[^>]*><title>step (\d+)</title>", loss[0]) == ["12", "20", "25"]
    assert html.count("mark c3") == 3 + 1, "on no other curve; the fourth is cutoff_len among the lengths"
    assert html.count(words["marked"]) == 1, "the marks have a name beside the curve"
    assert words["marked"] not in page(facts(health=()))
    texts = Parsed(html).text
    assert texts.index("Finished") < texts.index(words["health"]) < texts.index(words["curves"])


def test_a_run_that_nothing_was_noticed_about_says_so() -> None:
    assert WORDS["en"]["healthy"] in Parsed(page(facts(health=()))).text
    assert WORDS["en"]["healthy"] not in Parsed(page(facts())).text
    assert WORDS["en"]["healthy"] not in Parsed(page(facts(health=(), log=[]))).text, "nobody looked"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_plan_stands_beside_what_was_measured(language: Any) -> None:
    words, html = WORDS[language], page(facts(language=language))
    table = re.search(rf"<h2>{words['foreseen']}</h2>(<table>.*?</table>)", html)
    assert table
    assert [re.findall(r"<td>([^<]*)</td>", row) for row in table[1].split("</tr>")[:2]] == [
        [words["memory"], words["planned"].format(said="1.5 GB"), words["measured"].format(said="1.7 GB")],
        [words["time"], words["planned"].format(said="0:00:23"), words["measured"].format(said="1:00:05")],
    ]
    stopped = page(facts(language=language, foreseen=Foreseen(1_540_000_000, None)))
    assert re.findall(rf"<h2>{words['foreseen']}</h2><table>(.*?)</table>", stopped) == [
        f"<tr><td>{words['memory']}</td><td>{words['planned'].format(said='1.5 GB')}</td><td></td></tr>"
    ]
    assert words["foreseen"] not in page(facts(language=language, foreseen=None))


def test_both_languages_have_the_same_words() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = page(facts())
    found = Parsed(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name in {"src", "href", "style"} or name.startswith("on")]
    assert not re.search(r"url\(|@import|http(?!://www\.w3\.org/2000/svg|-equiv)", html)
    assert "default-src &#x27;none&#x27;" in html
    assert "prefers-color-scheme:dark" in html
    assert "width=device-width" in html


def hostile() -> Facts:
    """Every text of the page is an attack."""
    return facts(
        title=HOSTILE,
        about=HOSTILE,
        ending=Ending("failed", HOSTILE, HOSTILE),
        data_lines=[HOSTILE],
        answered=[Answered(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
        checked=[Finding("trainer.no-checkpoint-yet", "note", HOSTILE)],
        noticed=[Finding("trainer.checkpoint-skipped", "warning", HOSTILE, {"reason": HOSTILE, "moved": HOSTILE})],
        environment=[(HOSTILE, HOSTILE)],
        configuration=HOSTILE,
        files=[(HOSTILE, 1)],
        commands={"chat": HOSTILE},
        log=[*LOG, line(31, loss="<script>", elapsed_time=HOSTILE)],
    )


def test_what_a_row_a_path_or_an_error_says_is_never_markup() -> None:
    plain, found = Parsed(page(facts())), Parsed(page(hostile()))
    assert set(found.tags) <= set(plain.tags)
    assert {name for name, _ in found.attributes} <= {name for name, _ in plain.attributes} | {"dir"}
    assert found.text.count("<script>alert(1)</script>") >= 15, "all of it can still be read"
    assert "\x00" not in page(hostile())
    page(hostile()).encode("utf-8")


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_whatever_changes_the_elements_of_the_page(said: str) -> None:
    html = page(facts(log=[], lengths=[], answered=[Answered(said, said, said, said, said)], title=said))
    assert Parsed(html).tags == Parsed(page(facts(log=[], lengths=[]))).tags
    html.encode("utf-8")


def test_what_stopped_the_run_stands_first_with_the_way_to_go_on() -> None:
    html = page(facts(ending=Ending("interrupted", "SIGTERM: stopped\nGive it again", "llamafactory-cli train x")))
    found = Parsed(html)
    assert found.text.index("Interrupted") < found.text.index("SIGTERM") < found.text.index("llamafactory-cli train x")
    assert ("class", "end interrupted") in found.attributes
    assert found.text.index("llamafactory-cli train x") < found.text.index("Curves")


def test_a_run_that_logged_nothing_still_has_a_page() -> None:
    found = Parsed(page(facts(log=[], smoothed=(), answered=(), lengths=(), checked=(), noticed=(), files=())))
    assert WORDS["en"]["no-log"] in found.text
    assert "svg" not in found.tags


def test_a_figure_that_was_not_finite_leaves_a_gap() -> None:
    log = [line(1, loss=2.0, grad_norm=None), line(2, loss=None, grad_norm=1.0), line(3, loss=1.0, grad_norm=1.0)]
    assert Parsed(page(facts(log=log, smoothed=()))).tags.count("svg") == 3, "loss, norm and lengths"


def test_a_log_of_a_hundred_thousand_lines_makes_a_small_page() -> None:
    log = [line(step, loss=2.0 + step % 7, lr=1e-4, grad_norm=1.0, tokens_per_second=5.0) for step in range(1, 100_001)]
    html = page(facts(log=log, smoothed=[(float(step), 2.0) for step in range(1, 100_001)]))
    assert len(html) < 250_000
