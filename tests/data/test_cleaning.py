"""The rules of `clean`, one by one: what each changes, what each drops, and that nothing is dropped unasked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_factory.data import cleaning
from llama_factory.data.cleaning import Dropped, Judge, Mender, Rules, texts, tidy, words
from llama_factory.errors import InputError

ROW = {
    "id": "abc",
    "messages": [
        {"role": "user", "content": "Ask  "},
        {"role": "assistant", "content": "Say", "tool_calls": [{"id": "c1", "function": {"arguments": "{ }"}}]},
    ],
    "tools": "[ ]",
    "system": "Be kind.",
}


def mended(row: Mapping[str, Any], **rules: Any) -> tuple[Any, tuple[str, ...]]:
    return Mender(Rules(**rules)).mend(row, "rows.jsonl:1")


def judged(*rows: Mapping[str, Any], against: tuple[Mapping[str, Any], ...] = (), **rules: Any) -> list[Dropped | None]:
    judge = Judge(Rules(**rules))
    if against:
        judge.forbid((f"judged.jsonl:{number}", row) for number, row in enumerate(against, 1))
    return [judge.judge(row, f"rows.jsonl:{number}") for number, row in enumerate(rows, 1)]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, **more}


def test_the_texts_of_a_row_are_what_people_wrote_and_no_names_or_json() -> None:
    assert list(texts(ROW)) == ["Ask  ", "Say", "Be kind."]
    assert list(texts(ROW, ("system",))) == ["Be kind."]


def test_without_a_rule_nothing_is_changed_and_nothing_is_dropped() -> None:
    assert mended(ROW) == (ROW, ())
    assert judged(ROW, ROW, {}, said("")) == [None] * 4


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\ufeffa", "a"),
        ("a  \t\nb \u00a0", "a\nb"),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("    indented\n\n\n\n\nend\n\n", "    indented\n\n\nend"),
        ("", ""),
    ],
)
def test_white_space_is_tidied_where_it_means_nothing(text: str, tidied: str) -> None:
    assert tidy(text) == tidied


@given(st.text(alphabet=" \t\r\n\ufeffab\u00a0", max_size=40))
def test_tidying_twice_is_tidying_once_and_loses_no_letter(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert "".join(once.split()) == "".join(text.replace("\ufeff", "").split())


def test_changes_reach_every_text_and_name_themselves() -> None:
    row, changes = mended(ROW, whitespace=True, replace=(("Sa(.)", r"\1!"),), unicode="nfc")
    assert changes == ("replace", "whitespace")
    assert list(texts(row)) == ["Ask", "y!", "Be kind."]
    assert row["messages"][1]["tool_calls"] == ROW["messages"][1]["tool_calls"]  # type: ignore[index]
    assert ROW["messages"][0]["content"] == "Ask  ", "the row that was read is left alone"  # type: ignore[index]


def test_unicode_is_put_together_and_only_nfkc_changes_the_look() -> None:
    assert mended(said("e\u0301 \uff21"), unicode="nfc")[0] == said("\u00e9 \uff21")
    assert mended(said("e\u0301 \uff21"), unicode="nfkc")[0] == said("\u00e9 A")


def test_fields_keep_the_other_columns_as_they_are() -> None:
    row = {"prompt": "x ", "response": "x "}
    assert mended(row, whitespace=True, fields=("response",))[0] == {"prompt": "x ", "response": "x"}
    assert judged(row, drop=("x",), fields=("other",)) == [None]


def test_an_expression_drops_a_row_and_says_what_it_met() -> None:
    assert judged(ROW, said("fine"), drop=("k.nd", "zzz")) == [Dropped("drop", "k.nd: kind"), None]


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"characters": (4, None)}, "min-characters"),
        ({"characters": (None, 2)}, "max-characters"),
        ({"words": (2, None)}, "min-words"),
        ({"words": (None, 1), "fields": ("b",)}, "max-words"),
        ({"tokens": (None, 2), "count_tokens": len}, "max-tokens"),
    ],
)
def test_lengths_are_kept_within_their_bounds(rules: dict[str, Any], rule: str) -> None:
    (dropped,) = judged({"a": "one", "b": "two words"} if "fields" in rules else said("one"), **rules)
    assert dropped is not None
    assert dropped.rule == rule


def test_bounds_are_inclusive_and_chinese_signs_are_words() -> None:
    assert judged(said("abc"), characters=(3, 3)) == [None]
    assert [words("one two"), words("你好 world"), words("你好,世界"), words("")] == [2, 3, 5, 0]


def test_the_first_of_equal_rows_stays_and_numbers_of_rows_do_not_make_a_difference() -> None:
    rows = (
        {"a": 1, "b": "x", "id": 1},
        {"b": "x", "a": 1, "id": 2},
        {"a": 2, "b": "x", "id": 3},
        {"a": True, "b": "x"},
    )
    assert judged(*rows, duplicates=True) == [None, Dropped("duplicates", like="rows.jsonl:1"), None, None]


def test_a_row_that_was_dropped_for_something_else_is_no_original() -> None:
    rows = (said("bad", label=True), said("good"), said("good"))
    found = judged(*rows, drop=("bad",), duplicates=True)
    assert found[1] is None
    assert found[2] == Dropped("duplicates", like="rows.jsonl:2")


def test_rows_of_the_validation_file_go_in_whatever_form_they_come() -> None:
    judged_rows = ({"prompt": "Who ARE you?", "response": "A model."},)
    rows = ({"messages": [{"role": "user", "content": "who are  you?"}, {"role": "assistant", "content": "A model."}]},)
    assert judged(*rows, against=judged_rows) == [Dropped("against", like="judged.jsonl:1")]
    assert judged({"prompt": "Who are you?", "response": "Another."}, against=judged_rows) == [None]


def test_nearly_equal_texts_are_found_and_different_ones_are_not() -> None:
    pytest.importorskip("rensa")
    long = "The quick brown fox jumps over the lazy dog, and the dog looks up, yawns, and goes back to sleep at once. "
    rows = (said(long * 3), said((long * 3).replace("lazy", "LAZY") + "!"), said(long[::-1] * 3), said("短文本"))
    assert judged(*rows, near=0.8) == [None, Dropped("near-duplicates", like="rows.jsonl:1"), None, None]
    assert judged(said(long * 3 + "?"), against=(said(long * 3),), near=0.8) == [
        Dropped("against", like="judged.jsonl:1")
    ]


def test_of_many_near_copies_each_names_an_earlier_row_and_one_stays() -> None:
    pytest.importorskip("rensa")
    base = "Once upon a time there was a small model that learned from clean data only, day after day, year after year."
    found = judged(*(said(f"{base} {number}") for number in range(30)), near=0.8)
    assert found[0] is None
    assert all(one is not None and int(one.like.rpartition(":")[2]) < at for at, one in enumerate(found[1:], 2))


def test_languages_that_are_not_wanted_go_and_short_texts_stay() -> None:
    pytest.importorskip("py3langid")
    rows = (
        said("This is written in English, and it is long enough to be told from others."),
        said("Das hier ist auf Deutsch geschrieben und lang genug, um erkannt zu werden."),
        said("这一行是用中文写的，足够长，可以识别。"),
        said("x = 1"),
    )
    found = judged(*rows, languages=("en", "zh"), language_of=cleaning.language_teller())
    assert found == [None, Dropped("language", "de"), None, None]


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<n>"])
def test_an_expression_that_cannot_be_read_is_refused_before_any_row(pattern: str) -> None:
    for rules in (Rules(drop=(pattern,)), Rules(replace=((pattern, ""),))):
        with pytest.raises(InputError) as caught:
            Judge(rules), Mender(rules)
        assert caught.value.id == "apps.clean-expression"


def test_a_replacement_that_names_a_group_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        mended(said("abc"), replace=(("a", r"\7"),))
    assert caught.value.id == "apps.clean-expression"


def test_an_expression_without_an_end_is_stopped_and_the_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "PATIENCE_S", 0.2)
    row = said("a" * 200 + "!")
    for act in (lambda: judged(row, drop=("(a|aa)+$",)), lambda: mended(row, replace=(("(a|aa)+$", ""),))):
        with pytest.raises(InputError) as caught:
            act()
        assert caught.value.id == "apps.clean-slow"
        assert caught.value.where == "rows.jsonl:1"
