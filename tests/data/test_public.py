"""The table of public data sets: every line can be looked up, and says what a person must know before using it."""

from __future__ import annotations

import re

import pytest

from llama_factory.data import public, registry

TABLE = public.table()


def test_the_table_holds_many_sets_of_several_stages_and_languages() -> None:
    assert len(TABLE) >= 60
    assert {one.stage for one in TABLE} == {"pt", "sft", "rm", "kto", "classify"}
    assert sum("zh" in one.language for one in TABLE) >= 10


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
def test_a_public_set_is_reached_by_its_name(one: public.Public, tmp_path) -> None:
    entry = registry.find(one.name, str(tmp_path), {})
    assert entry.name == one.name
    assert entry.place in ("hf", "ms")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.address)
    assert one.language
    assert one.licence
    assert entry.ranking == (one.stage == "rm")
    named = {key for key, column in entry.columns.items() if column}
    if one.stage == "pt":
        assert named == {"prompt"}
    if one.stage == "sft":
        assert entry.formatting == "alpaca" or named >= {"prompt", "response"} or "messages" in named


def test_modelscope_is_taken_where_it_has_the_set(tmp_path) -> None:
    places = {one.name: registry.find(one.name, str(tmp_path), {"USE_MODELSCOPE_HUB": "1"}).place for one in TABLE}
    assert places["alpaca_gpt4_zh"] == "ms"
    assert places["gsm8k"] == "hf"


def test_a_name_of_the_reader_or_of_a_shipped_set_goes_first(desk) -> None:
    assert not {one.name for one in TABLE} & set(registry.names(str(registry.shipped())))
    desk.write("rows.json", [{"instruction": "q", "output": "mine"}])
    desk.register(gsm8k={"file_name": "rows.json"})
    assert desk.trained(desk.prepare("gsm8k").train) == ["mine <stop >"]


def test_a_misspelt_public_name_is_answered_with_the_right_one(desk) -> None:
    with pytest.raises(Exception, match="alpaca_gpt4_en") as caught:
        registry.find("alpaca_gpt_4_en", str(desk.folder), {})
    assert caught.value.id == "data.unknown-name"
