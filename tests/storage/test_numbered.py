"""Checkpoints are ordered by their number, and the broken ones are passed over aloud."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from llama_factory import storage


def make(folder: Path, *steps: int) -> list[Path]:
    for step in steps:
        storage.write_directory(
            folder / f"checkpoint-{step}", lambda made, step=step: (made / "x").write_text(f"{step}") and None
        )
    return [folder / f"checkpoint-{step}" for step in steps]


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_the_order_is_that_of_the_numbers_whatever_the_clock_said(tmp_path: Path) -> None:
    paths = make(tmp_path, 9, 10, 100, 2)
    for path in paths:
        os.utime(path, (random.Random(path.name).randrange(2**31),) * 2)
    assert names(storage.numbered(tmp_path)) == ["checkpoint-100", "checkpoint-10", "checkpoint-9", "checkpoint-2"]
    assert storage.find_newest(tmp_path) == (tmp_path / "checkpoint-100", [])


def test_other_names_are_not_checkpoints(tmp_path: Path) -> None:
    make(tmp_path, 5)
    for name in (
        "checkpoint-",
        "checkpoint-7.broken",
        "checkpoint-x",
        "checkpoint--9",
        "xcheckpoint-9",
        ".checkpoint-9",
        "checkpoint-９",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-8").write_text("a file")
    assert names(storage.numbered(tmp_path)) == ["checkpoint-5"]


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert storage.find_newest(tmp_path) == (None, [])
    assert storage.find_newest(tmp_path / "never") == (None, [])
    assert storage.newest_whole(tmp_path / "never") == []


def test_the_search_goes_past_every_broken_one_and_says_why(tmp_path: Path) -> None:
    one, two, three, four = make(tmp_path, 1, 2, 3, 4)
    (four / "MANIFEST.json").unlink()
    (three / "x").write_text("7")
    (two / "x").unlink()
    found, broken = storage.find_newest(tmp_path)
    assert found == one
    assert [(item.path, item.error.id) for item in broken] == [
        (four, "storage.no-manifest"), (three, "storage.wrong-hash"), (two, "storage.missing-file"),
    ]  # fmt: skip
    assert names(storage.newest_whole(tmp_path)) == ["checkpoint-3", "checkpoint-1"]


def test_another_prefix_is_another_series(tmp_path: Path) -> None:
    make(tmp_path, 1)
    storage.write_directory(tmp_path / "shard.7", lambda made: (made / "x").touch())
    assert storage.find_newest(tmp_path, "shard.")[0] == tmp_path / "shard.7"
    assert storage.find_newest(tmp_path, "shardx") == (None, [])


def test_the_oldest_go_and_the_newest_whole_ones_stay(tmp_path: Path) -> None:
    make(tmp_path, 1, 2, 3, 4)
    assert names(storage.retain(tmp_path, 2)) == ["checkpoint-2", "checkpoint-1"]
    assert names(storage.numbered(tmp_path)) == ["checkpoint-4", "checkpoint-3"]
    assert storage.retain(tmp_path, 2) == []


def test_a_broken_one_does_not_count_and_the_last_whole_one_is_never_removed(tmp_path: Path) -> None:
    paths = make(tmp_path, 1, 2, 3)
    for path in paths[1:]:
        (path / "MANIFEST.json").unlink()
    assert storage.retain(tmp_path, 1) == []
    make(tmp_path, 4)
    assert names(storage.retain(tmp_path, 1)) == ["checkpoint-3", "checkpoint-2", "checkpoint-1"]


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    make(tmp_path, 1)
    with pytest.raises(ValueError, match="0"):
        storage.retain(tmp_path, 0)
    assert names(storage.numbered(tmp_path)) == ["checkpoint-1"]
