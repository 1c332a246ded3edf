"""`dataset:` names and paths, and every key of dataset_info.json."""

from __future__ import annotations

from collections import Counter

import pytest

from llama_factory.data import formats, registry, sources
from llama_factory.data.splits import Wanted
from llama_factory.errors import DataError, LlamaFactoryError

ROW = {"instruction": "hello", "output": "hi there"}
TALK = {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi there"}]}
SAID = "<user> hello <stop > <assistant> hi there <stop >"


def refused(desk, name: str = "mine", **keys) -> LlamaFactoryError:
    with pytest.raises(LlamaFactoryError) as caught:
        desk.prepare(name, **keys)
    assert caught.value.letter("en")
    assert caught.value.letter("zh")
    return caught.value


def test_a_name_of_the_registry_leads_to_its_file(desk) -> None:
    desk.write("rows.json", [ROW])
    desk.register(mine={"file_name": "rows.json"})
    assert desk.texts(desk.prepare("mine").train) == [SAID]
    assert "mine" in registry.names(str(desk.folder))


def test_a_bare_path_needs_no_registry_from_here_or_from_dataset_dir(desk, tmp_path, monkeypatch) -> None:
    desk.write("rows.json", [ROW])
    assert len(desk.prepare("rows.json").train) == 1
    assert len(desk.prepare(str(desk.folder / "rows.json")).train) == 1
    monkeypatch.chdir(tmp_path)
    assert len(desk.prepare("rows.json").train) == 1
    assert len(desk.prepare("data/rows.json").train) == 1


def test_an_unknown_name_is_answered_with_the_nearest_one(desk) -> None:
    desk.write("rows.json", [ROW])
    desk.register(my_rows={"file_name": "rows.json"})
    error = refused(desk, "my_row")
    assert (error.id, error.exit_code) == ("data.unknown-name", 2)
    assert "(`my_rows`?)" in error.letter()
    error = refused(desk, "rowz.json")
    assert error.id == "data.no-such-file"
    assert "(`rows.json`?)" in error.letter()


def test_the_data_sets_that_come_with_the_program_are_the_fallback(desk, tmp_path, monkeypatch) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "dataset_info.json").write_text('{"identity": {"file_name": "own.jsonl"}}')
    (shipped / "own.jsonl").write_text('{"instruction": "hello", "output": "hi there"}\n')
    monkeypatch.setattr(registry, "shipped", lambda: shipped)
    assert desk.texts(desk.prepare("identity").train) == [SAID]
    assert desk.texts(desk.prepare("identity", dataset_dir="nowhere").train) == [SAID]
    desk.write("rows.json", [{**ROW, "output": "mine"}])
    desk.register(identity={"file_name": "rows.json"})
    assert desk.trained(desk.prepare("identity").train) == ["mine <stop >"]


def test_every_row_of_every_shipped_data_set_is_a_record_and_every_stage_has_some(tmp_path) -> None:
    seen: Counter[str] = Counter()
    for name in registry.names(str(registry.shipped())):
        entry = sources.fetch(registry.find(name, str(registry.shipped())), tmp_path)
        rows = [row for row in sources.rows(entry) if not isinstance(row, DataError)]
        converter = formats.choose(entry, rows)
        kinds = {type(converter.convert(row, origin)).__name__ for origin, row in rows}
        assert len(kinds) == 1
        assert len(rows) == len(list(sources.rows(entry))) >= 6
        seen.update(kinds)
    assert seen == {"Conversation": 18, "Text": 3, "Preference": 3, "Labelled": 2, "Classified": 2}


def test_shipped_data_sets_of_every_kind_of_file_can_be_prepared(desk) -> None:
    for name in ("identity", "history_zh", "questions_en", "sharegpt_en", "weighted_en", "thinking_en"):
        assert len(desk.prepare(name).train) > 0
    for name in ("text_zh", "notes_en"):
        assert len(desk.prepare(name, stage="pt").train) > 0


@pytest.mark.parametrize(
    "entry",
    [
        {"columns": {"prompt": "question", "response": "answer"}},
        {"columns": {"prompt": "question", "response": "answer"}, "formatting": "alpaca"},
        {"columns": {"prompt": "question", "response": "answer", "query": None, "tools": None}, "ranking": False},
    ],
)
def test_columns_name_the_keys_of_the_rows(desk, entry) -> None:
    desk.write("rows.json", [{"question": "hello", "answer": "hi there"}])
    desk.register(mine={"file_name": "rows.json", **entry})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


def test_a_column_that_is_not_named_keeps_its_usual_name(desk) -> None:
    row = {"question": "hello", "input": "you", "output": "hi", "system": "be kind", "history": [["a", "b"]]}
    desk.write("rows.json", [row])
    desk.register(mine={"file_name": "rows.json", "columns": {"prompt": "question"}})
    assert desk.texts(desk.prepare("mine").train) == [
        "<system> be kind <stop > <user> a <stop > <assistant> b <stop > "
        "<user> hello you <stop > <assistant> hi <stop >"
    ]


def test_a_usual_name_that_another_column_took_is_read_once(desk) -> None:
    desk.write("rows.json", [{"input": "hello", "output": "hi there"}])
    desk.register(mine={"file_name": "rows.json", "columns": {"prompt": "input"}})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


def test_a_column_that_is_null_is_not_read(desk) -> None:
    desk.write("rows.json", [{**ROW, "system": "be rude"}])
    desk.register(mine={"file_name": "rows.json", "formatting": "alpaca", "columns": {"system": None}})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


@pytest.mark.parametrize(
    "columns",
    [
        {"response": "instruction"},
        {"query": "instruction"},
        {"prompt": "output"},
        {"prompt": None},
        {"system": "output"},
    ],
)
def test_a_question_or_an_answer_without_a_column_of_its_own_is_refused(desk, columns) -> None:
    desk.write("rows.json", [ROW])
    desk.register(mine={"file_name": "rows.json", "formatting": "alpaca", "columns": columns})
    assert refused(desk).id == "data.column-needed"


def test_rows_with_both_kinds_of_dialogue_are_read_by_the_named_one_and_the_other_is_said(desk) -> None:
    desk.write("rows.json", [{**TALK, "messages": [{"role": "user", "content": "other"}]}])
    desk.register(mine={"file_name": "rows.json", "formatting": "sharegpt"})
    assert desk.texts(desk.prepare("mine").train) == [SAID]
    assert any("not read: messages" in line for line in desk.said)


def test_a_named_column_that_no_row_has_is_an_error(desk) -> None:
    desk.write("rows.json", [{**ROW, "sistem": "be kind"}])
    desk.register(mine={"file_name": "rows.json", "columns": {"system": "system_text"}})
    error = refused(desk)
    assert error.id == "data.column-nowhere"
    assert "system_text" in error.letter()
    desk.register(mine={"file_name": "rows.json", "columns": {"system": "system"}})
    assert "(`sistem`?)" in refused(desk).letter()


@pytest.mark.parametrize(
    ("talk", "entry"),
    [
        (TALK, {"formatting": "sharegpt"}),
        (TALK, {"formatting": "sharegpt", "tags": {"system_tag": "system"}}),
        (TALK, {"tags": {"user_tag": "human"}}),
        ({"talk": TALK["conversations"]}, {"formatting": "sharegpt", "columns": {"messages": "talk"}}),
        ({"talk": TALK["conversations"]}, {"columns": {"messages": "talk"}}),
        (
            {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}]},
            {
                "formatting": "sharegpt",
                "columns": {"messages": "messages"},
                "tags": {"role_tag": "role", "content_tag": "content"},
            },
        ),
        (
            {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}]},
            {"formatting": "sharegpt"},
        ),
        (
            {"messages": [{"who": "kunde", "text": "hello"}, {"who": "bot", "text": "hi there"}]},
            {
                "formatting": "openai",
                "tags": {"role_tag": "who", "content_tag": "text", "user_tag": "kunde", "assistant_tag": "bot"},
            },
        ),
    ],
)
def test_tags_given_in_part_keep_the_others(desk, talk, entry) -> None:
    desk.write("rows.json", [talk])
    desk.register(mine={"file_name": "rows.json", **entry})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


def test_a_tag_that_took_a_usual_spelling_has_it_alone(desk) -> None:
    talk = [{"from": "gpt", "value": "hello"}, {"from": "human", "value": "hi there"}]
    desk.write("rows.json", [{"conversations": talk}])
    entry = {"file_name": "rows.json", "formatting": "sharegpt", "tags": {"user_tag": "gpt", "assistant_tag": "human"}}
    desk.register(mine=entry)
    assert desk.texts(desk.prepare("mine").train) == [SAID]


def test_a_role_that_the_tags_replaced_is_unknown(desk) -> None:
    desk.write("rows.json", [TALK])
    desk.register(mine={"file_name": "rows.json", "formatting": "sharegpt", "tags": {"user_tag": "kunde"}})
    error = refused(desk)
    assert error.id == "data.unknown-role"
    assert "kunde" in error.letter()


@pytest.mark.parametrize(
    ("key", "id"),
    [("script_url", "data.script"), ("om_hub_url", "data.openmind")],
)
def test_a_source_that_cannot_be_used_is_refused_with_its_reason(desk, key, id) -> None:
    desk.register(mine={key: "owner/name"})
    error = refused(desk)
    assert (error.id, error.exit_code) == (id, 3)
    assert "file_name" in error.letter()


def test_a_file_beside_a_source_that_cannot_be_used_is_read(desk) -> None:
    desk.write("rows.json", [ROW])
    desk.register(mine={"script_url": "x", "om_hub_url": "owner/name", "file_name": "rows.json"})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


@pytest.mark.parametrize(
    ("environ", "entry", "expected"),
    [
        ({}, {"hf_hub_url": "a/b", "ms_hub_url": "c/d"}, ("hf", "a/b")),
        ({"USE_MODELSCOPE_HUB": "1"}, {"hf_hub_url": "a/b", "ms_hub_url": "c/d"}, ("ms", "c/d")),
        ({"USE_MODELSCOPE_HUB": "1"}, {"hf_hub_url": "a/b"}, ("hf", "a/b")),
        ({}, {"ms_hub_url": "c/d", "om_hub_url": "e/f"}, ("ms", "c/d")),
        ({}, {"cloud_file_name": "s3://bucket/rows.jsonl", "file_name": "x.json"}, ("cloud", "s3://bucket/rows.jsonl")),
        ({}, {"hf_hub_url": "a/b", "cloud_file_name": "s3://bucket/rows.jsonl"}, ("hf", "a/b")),
    ],
)
def test_where_several_sources_are_named_the_first_usable_one_is_taken(desk, environ, entry, expected) -> None:
    desk.register(mine={**entry, "split": "train", "subset": "main", "folder": "en", "ranking": True, "num_samples": 3})
    found = registry.find("mine", str(desk.folder), environ)
    assert (found.place, found.address) == expected
    assert found.wanted == Wanted("main", "train", "en")
    assert (found.ranking, found.num_samples) == (True, 3)


def test_a_name_with_an_owner_is_a_hubs_unless_a_folder_or_an_ending_says_that_a_file_is_meant(desk) -> None:
    assert registry.find("owner/name", str(desk.folder), {}).place == "hf"
    assert registry.find("owner/name", str(desk.folder), {"USE_MODELSCOPE_HUB": "true"}).place == "ms"
    assert registry.find("imdb", "ONLINE", {}).place == "hf"
    desk.write("inner/rows.json", [ROW])
    for name in ("inner/rowz", "owner/name.csv", "./name", "a/b/c"):
        with pytest.raises(LlamaFactoryError) as caught:
            registry.find(name, str(desk.folder), {})
        assert caught.value.id == "data.no-such-file"


def test_the_first_samples_are_read_and_too_few_are_said(desk, question) -> None:
    desk.write("rows.jsonl", [question(number) for number in range(5)])
    desk.register(mine={"file_name": "rows.jsonl", "num_samples": 2})
    assert desk.trained(desk.prepare("mine").train) == ["a0 a0 <stop >", "a1 a1 <stop >"]
    desk.register(mine={"file_name": "rows.jsonl", "num_samples": 9})
    prepared = desk.prepare("mine")
    assert len(prepared.train) == 5
    (note,) = [one for one in prepared.summary.findings if one.id == "data.fewer-samples"]
    assert note.values == {"wanted": 9, "found": 5}
    assert not [one for one in desk.prepare("mine", max_samples=3).summary.findings if one.id == note.id]


def test_ranking_says_that_rows_are_pairs_and_rows_that_are_none_are_refused(desk) -> None:
    pair = {"instruction": "q", "chosen": "good", "rejected": "bad"}
    for rows, id in (([pair], "data.other-stage"), ([ROW], "data.column-nowhere")):
        desk.write("rows.json", rows)
        desk.register(mine={"file_name": "rows.json", "ranking": True})
        assert refused(desk).id == id
    desk.register(mine={"file_name": "rows.json", "ranking": False})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


@pytest.mark.parametrize("key", ["subset", "folder", "split"])
def test_a_part_of_a_single_file_cannot_be_chosen(desk, key) -> None:
    desk.write("rows.json", [ROW])
    desk.register(mine={"file_name": "rows.json", key: "test"})
    error = refused(desk)
    assert error.id == "data.key-only-hub"
    assert f"`{key}`" in error.letter()
    desk.register(mine={"file_name": "rows.json", "split": "train"})
    assert desk.texts(desk.prepare("mine").train) == [SAID]


@pytest.mark.parametrize(
    ("entry", "id", "says"),
    [
        ({"file_name": "rows.json", "format": "sharegpt"}, "data.key-unknown", "(`formatting`?)"),
        ({"file_name": "rows.json", "columns": {"promt": "q"}}, "data.key-unknown", "(`prompt`?)"),
        ({"file_name": "rows.json", "tags": {"usertag": "q"}}, "data.key-unknown", "(`user_tag`?)"),
        ({"file_name": "rows.json", "formatting": "sharegtp"}, "data.formatting-unknown", "(`sharegpt`?)"),
        ({"file_name": "rows.json", "formatting": ["alpaca"]}, "data.key-type", "array"),
        ({"file_name": "rows.json", "columns": ["prompt"]}, "data.key-type", "array"),
        ({"file_name": "rows.json", "columns": {"prompt": 3}}, "data.key-type", "number"),
        ({"file_name": "rows.json", "tags": {"user_tag": ""}}, "data.key-type", "string"),
        ({"file_name": "rows.json", "columns": {"prompt": "q", "query": "q"}}, "data.used-twice", "`query`"),
        ({"file_name": "rows.json", "tags": {"user_tag": "x", "assistant_tag": "x"}}, "data.used-twice", "`x`"),
        (
            {"file_name": "rows.json", "formatting": "alpaca", "tags": {"user_tag": "x"}},
            "data.columns-differ",
            "alpaca",
        ),
        (
            {"file_name": "rows.json", "formatting": "openai", "columns": {"prompt": "x"}},
            "data.columns-differ",
            "prompt",
        ),
        ({"formatting": "alpaca"}, "data.no-file-name", "file_name"),
        ({"file_name": ""}, "data.no-file-name", "hf_hub_url"),
        ({"file_name": 3}, "data.key-type", "string"),
        ({"file_name": "rows.json", "ranking": "yes"}, "data.key-type", "boolean"),
        ({"file_name": "rows.json", "subset": 3}, "data.key-type", "string"),
        ({"file_name": "rows.json", "num_samples": "3"}, "data.key-type", "number"),
        ({"file_name": "rows.json", "num_samples": 0}, "data.num-samples", "`num_samples`"),
        ({"file_name": "rows.json", "num_samples": 2.5}, "data.num-samples", "2.5"),
        ({"hf_hub_ulr": "a/b"}, "data.key-unknown", "(`hf_hub_url`?)"),
        ({"file_name": "rows.json", "ranking": True, "columns": {"kto_tag": "x"}}, "data.two-judgements", "kto_tag"),
        ([], "data.entry-shape", "array"),
        ({"file_name": "rowz.json"}, "data.no-file", "(`rows.json`?)"),
        ({"file_name": "rows.xls"}, "data.no-file", "(`rows.json`?)"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(desk, entry, id, says) -> None:
    desk.write("rows.json", [ROW])
    desk.register(mine=entry, other={"nonsense": 1})
    error = refused(desk)
    assert (error.id, error.exit_code) == (id, 3)
    assert says in error.letter()
    assert error.where


def test_a_broken_registry_is_named_with_its_line(desk) -> None:
    desk.write("dataset_info.json", '{\n "a": {"file_name": "a.json"}\n "b": {}\n}')
    error = refused(desk)
    assert (error.id, error.values["line"]) == ("data.registry-broken", 3)
    desk.write("dataset_info.json", '{"a": {}, "a": {}}')
    assert refused(desk).id == "data.duplicate-key"
    desk.write("dataset_info.json", "[]")
    assert refused(desk).id == "data.registry-shape"
    desk.write("dataset_info.json", b"\xff\xfe{}")
    assert refused(desk).id == "data.not-utf8"
