"""Folders of files, and the rules by which names of files say which part of a data set they hold."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory.data import splits
from llama_factory.data.splits import Card, Wanted, card_of, choose, split_of
from llama_factory.errors import DataError, LlamaFactoryError

LINE = '{"instruction": "q", "output": "%s"}\n'


def refused(desk, name: str = "mine", **keys) -> LlamaFactoryError:
    with pytest.raises(LlamaFactoryError) as caught:
        desk.prepare(name, **keys)
    assert caught.value.letter("zh")
    return caught.value


def fill(desk, *names: str) -> None:
    for name in names:
        desk.write(f"set/{name}", LINE % name.replace("/", "-"))
    desk.register(mine={"file_name": "set"})


def test_a_folder_is_read_file_by_file_in_order_and_rows_know_their_file(desk) -> None:
    fill(desk, "b.jsonl", "a.jsonl", "inner/c.jsonl")
    desk.write("set/a.jsonl", LINE % "one" + LINE % "two")
    store = desk.prepare("mine").train
    assert [text.split()[0] for text in desk.trained(store)] == ["one", "two", "b.jsonl", "inner-c.jsonl"]
    assert [str(store.row(at).origin) for at in range(4)] == [
        f"{desk.folder}/set/{place}" for place in ("a.jsonl:1", "a.jsonl:2", "b.jsonl:1", "inner/c.jsonl:1")
    ]
    assert str(store.origin(2)).endswith("b.jsonl:1")


def test_a_folder_can_be_named_by_its_path_and_a_changed_file_of_it_is_noticed(desk) -> None:
    fill(desk, "a.jsonl", "b.jsonl")
    folder = str(desk.folder / "set")
    assert desk.prepare(folder).summary.train[0].store == "new"
    assert desk.prepare(folder).summary.train[0].store == "hit"
    desk.write("set/b.jsonl", LINE % "changed")
    prepared = desk.prepare(folder)
    assert (prepared.summary.train[0].store, prepared.summary.train[0].changed) == ("miss", ("file",))
    desk.write("set/c.jsonl", LINE % "new")
    assert len(desk.prepare(folder).train) == 3


def test_a_bad_row_of_a_folder_is_named_with_its_own_file(desk) -> None:
    fill(desk, "a.jsonl", "b.jsonl")
    desk.write("set/b.jsonl", LINE % "x" + '{"instruction": "q"}\n')
    assert refused(desk).where.endswith("set/b.jsonl:2")


def test_hidden_files_and_other_splits_are_left_out_and_said(desk) -> None:
    fill(desk, "train.jsonl", "test.jsonl", ".train.jsonl", "extra.jsonl", ".git/x.jsonl", "__pycache__/y.jsonl")
    desk.write("set/README.md", "# about")
    prepared = desk.prepare("mine")
    assert desk.trained(prepared.train) == ["train.jsonl <stop >"]
    (note,) = [one for one in prepared.summary.findings if one.id == "data.files-chosen"]
    assert note.values == {
        "count": 1, "split": "train",
        "left": "extra.jsonl, test.jsonl, .git/x.jsonl, .train.jsonl, __pycache__/y.jsonl",
    }  # fmt: skip
    assert any("left out: extra.jsonl" in line for line in desk.said)
    desk.register(mine={"file_name": "set", "split": "test"})
    assert desk.trained(desk.prepare("mine").train) == ["test.jsonl <stop >"]


def test_a_folder_with_one_split_is_that_split(desk) -> None:
    fill(desk, "test-1.jsonl", "test-2.jsonl")
    assert len(desk.prepare("mine").train) == 2


@pytest.mark.parametrize(
    ("names", "entry", "id", "says"),
    [
        (["a.jsonl", "b.csv"], {}, "data.mixed-kinds", "csv, json"),
        (["train.jsonl", "train.csv", "test.txt"], {}, "data.mixed-kinds", "csv, json"),
        (["one/two/a.jsonl"], {}, "data.too-nested", "one/two/a.jsonl"),
        (["README.md", "LICENSE.txt", "dataset_info.json", ".a.jsonl"], {}, "data.no-data-files", "README.md"),
        (["a.jsonl"], {"split": "test"}, "data.no-split", "Splits: train"),
        (["train.jsonl", "dev.jsonl"], {"split": "vaildation"}, "data.no-split", "(`validation`?)"),
        (["train.jsonl"], {"subset": "main"}, "data.key-only-hub", "`subset`"),
        (["en/a.jsonl", "zh/a.jsonl"], {"folder": "fr"}, "data.no-folder", "en, zh"),
        (["d-00000-of-00003.jsonl", "d-00002-of-00003.jsonl"], {}, "data.shard-missing", "`d-00001-of-00003.jsonl`"),
    ],
)
def test_a_folder_that_cannot_be_read_whole_is_refused(desk, names, entry, id, says) -> None:
    fill(desk, *names)
    desk.register(mine={"file_name": "set", **entry})
    error = refused(desk)
    assert (error.id, error.exit_code) == (id, 3)
    assert says in error.letter()


def test_a_part_of_a_folder_is_chosen_by_its_name(desk) -> None:
    fill(desk, "en/a.jsonl", "zh/a.jsonl")
    desk.register(mine={"file_name": "set", "folder": "zh"})
    assert desk.trained(desk.prepare("mine").train) == ["zh-a.jsonl <stop >"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/train_sft-00000-of-00003.parquet", "train_sft"),
        ("data/valid-00000-of-00001.parquet", "validation"),
        ("my_data_TRAIN.csv", "train"),
        ("training.csv.gz", "train"),
        ("eval/rows.json", "test"),
        ("test/train.json", "train"),
        ("alpaca-dev.v2.jsonl", "validation"),
        ("part1test2.jsonl", "test"),
        ("contest.jsonl", None),
        ("latest/trained.jsonl", None),
        ("develop.jsonl", None),
        ("1M-00000-of-00001.parquet", None),
    ],
)
def test_a_name_says_its_split_by_whole_words(name, split) -> None:
    assert split_of(name) == split


CARD = """---
license: mit
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path:
    - main/test-*
    - more/**/test.{csv,parquet}
- config_name: raw
  data_dir: raw
- config_name: "3"
  data_files: x/[ab]?.json*
---
# A card
"""
NAMES = [
    "README.md", "main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet", "main/deep/train-x.parquet",
    "more/1/2/test.parquet", "more/test.parquet", "raw/train.json", "raw/dev.json",
    "x/a1.jsonl", "x/b2.json", "x/c3.json",
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["main/train-00000-of-00001.parquet"]),
        (Wanted("main", "test"), ["main/test-00000-of-00001.parquet", "more/1/2/test.parquet", "more/test.parquet"]),
        (Wanted("raw"), ["raw/train.json"]),
        (Wanted("raw", "validation"), ["raw/dev.json"]),
        (Wanted("3"), ["x/a1.jsonl", "x/b2.json"]),
        (Wanted(folder="raw"), ["raw/train.json"]),
    ],
)
def test_a_card_says_which_files_are_a_subset(wanted, expected) -> None:
    assert list(choose(NAMES, wanted, card_of(CARD, "o/n"), "o/n").files) == expected


@pytest.mark.parametrize(
    ("text", "wanted", "id"),
    [
        (CARD, Wanted("mian"), "data.no-subset"),
        (CARD.replace("  default: true\n", ""), Wanted(), "data.subset-needed"),
        (CARD, Wanted("main", "dev"), "data.no-split"),
        ("---\nconfigs: [\n---\n", Wanted(), "data.card-broken"),
        ("---\nconfigs: main\n---\n", Wanted(), "data.card-broken"),
        ("---\nday: 2024-99-99\n---\n", Wanted(), "data.card-broken"),
        (CARD.replace("[ab]", "[z-a]"), Wanted("3"), "data.card-broken"),
        ("---\nconfigs:\n- data_files:\n  - split: train\n---\n", Wanted(), "data.card-broken"),
        ("# no head", Wanted("main2"), "data.no-subset"),
    ],
)
def test_a_card_that_does_not_say_it_is_refused(text, wanted, id) -> None:
    with pytest.raises(DataError) as caught:
        choose(NAMES, wanted, card_of(text, "o/n"), "o/n")
    assert caught.value.id == id
    assert caught.value.letter("zh")


def test_a_folder_stands_for_a_subset_where_there_is_no_card() -> None:
    assert choose(["en/a.json", "zh/b.json"], Wanted("zh"), Card(), "o/n").files == ("zh/b.json",)


def test_of_copies_in_several_kinds_one_is_read_and_the_others_said() -> None:
    chosen = choose(["a.parquet", "a.json", "notes.txt"], Wanted(), Card(), "o/n")
    assert (chosen.files, chosen.left_out) == (("a.parquet",), ("a.json", "notes.txt"))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40))
def test_any_card_leads_to_subsets_or_a_letter(text) -> None:
    for whole in (text, f"---\nconfigs:\n{text}\n---\n", f"---\nconfigs: {json.dumps([{'data_files': text}])}\n---\n"):
        with suppress(DataError):
            assert choose(["a.json"], Wanted(), card_of(whole, "o/n"), "o/n").files == ("a.json",)


@settings(max_examples=300, deadline=None)
@given(names=st.lists(st.text("ab/.-_*[train0123456789of{}", min_size=1, max_size=12).map(lambda text: text + ".json")))
def test_every_data_file_is_either_read_or_named_as_left_out(names) -> None:
    data = {name for name in names if splits.is_data(name)}
    try:
        chosen = choose(sorted(set(names)), Wanted(), Card(), "o/n")
    except DataError:
        return
    assert set(chosen.files) | set(chosen.left_out) == data
    assert not set(chosen.files) & set(chosen.left_out)
