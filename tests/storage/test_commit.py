"""Whole or absent: folders, published files, single files, lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from llama_factory import storage
from llama_factory.errors import InputError, MachineError, OurFault
from llama_factory.storage import commit


def fill(**files: str):
    def write(folder: Path) -> None:
        for name, text in files.items():
            (folder / name).write_text(text)

    return write


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_with_its_files_and_their_manifest(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        assert not (tmp_path / "made").exists()
        (folder / "deep").mkdir()
        (folder / "deep" / "a.bin").write_bytes(b"12345")
        (folder / "empty").touch()

    manifest = storage.write_directory(tmp_path / "made", write)
    assert {name: entry.size for name, entry in manifest.files.items()} == {"deep/a.bin": 5, "empty": 0}
    assert manifest.size == 5
    assert manifest.files["deep/a.bin"].sha256 == "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
    assert storage.verify(tmp_path / "made") == manifest
    assert visible(tmp_path) == ["made"]


def test_missing_parents_are_made(tmp_path: Path) -> None:
    storage.write_directory(tmp_path / "a" / "b" / "c", fill(x="1"))
    storage.write_file(tmp_path / "d" / "e", "text")
    storage.verify(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "d" / "e").read_text() == "text"


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    storage.write_directory(tmp_path / "made", fill(x="old"))
    with pytest.raises(InputError) as caught:
        storage.write_directory(tmp_path / "made", lambda folder: pytest.fail("the writer was called"))
    assert caught.value.id == "storage.exists"
    assert (tmp_path / "made" / "x").read_text() == "old"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    storage.write_directory(tmp_path / "made", fill(x="1"))
    storage.verify(tmp_path / "made")


def test_the_second_of_two_who_write_the_same_folder_is_told(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        storage.write_directory(tmp_path / "made", fill(x="first"))
        (folder / "x").write_text("second")

    with pytest.raises(InputError) as caught:
        storage.write_directory(tmp_path / "made", write)
    assert caught.value.id == "storage.exists"
    assert (tmp_path / "made" / "x").read_text() == "first"
    assert visible(tmp_path) == ["made"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_replacing_leaves_the_new_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(commit, "exchange", lambda one, other: False)
    storage.write_directory(tmp_path / "made", fill(x="old", y="old"), replace=True)
    storage.write_directory(tmp_path / "made", fill(x="new"), replace=True)
    assert visible(tmp_path / "made") == ["MANIFEST.json", "x"]
    assert (tmp_path / "made" / "x").read_text() == "new"
    assert visible(tmp_path) == ["made"]


def test_this_system_can_exchange_two_folders_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").write_text("file")
    assert commit.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one").read_text() == "file"


def test_a_link_to_a_folder_keeps_being_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "made")
    storage.write_directory(tmp_path / "link", fill(x="1"))
    storage.write_directory(tmp_path / "link", fill(x="2"), replace=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "made" / "x").read_text() == "2"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), KeyboardInterrupt(), FileNotFoundError(2, "none", "config.json")]
)
def test_a_writer_that_fails_leaves_nothing_and_its_error_is_its_own(tmp_path: Path, error: BaseException) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        storage.write_directory(tmp_path / "made", write)
    assert caught.value is error
    assert visible(tmp_path) == []


def test_trouble_with_a_file_that_the_writer_reads_names_that_file(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", "/elsewhere/model.safetensors")

    with pytest.raises(MachineError) as caught:
        storage.write_directory(tmp_path / "made", write)
    assert (caught.value.id, caught.value.where) == ("storage.refused", "/elsewhere/model.safetensors")


def test_a_full_disk_met_by_a_library_in_rust_is_a_full_disk(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(MachineError) as caught:
        storage.write_directory(tmp_path / "made", write)
    assert caught.value.id == "storage.full"


def test_a_writer_that_writes_nothing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(OurFault) as caught:
        storage.write_directory(tmp_path / "made", lambda folder: None)
    assert caught.value.id == "storage.nothing-written"


def test_a_writer_may_not_take_the_name_of_the_manifest(tmp_path: Path) -> None:
    with pytest.raises(OurFault) as caught:
        storage.write_directory(tmp_path / "made", lambda folder: (folder / "MANIFEST.json").touch())
    assert caught.value.id == "storage.reserved-name"
    assert visible(tmp_path) == []


def test_links_and_pipes_are_no_content(tmp_path: Path) -> None:
    for make, word in ((lambda path: path.symlink_to("/etc/hosts"), "a link"), (os.mkfifo, "a device or a pipe")):
        with pytest.raises(MachineError) as caught:
            storage.write_directory(tmp_path / "made", lambda folder, make=make: make(folder / "x"))
        assert caught.value.id == "storage.not-plain"
        assert word in str(caught.value)
    assert visible(tmp_path) == []


def test_published_files_join_those_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    storage.publish_files(tmp_path, fill(a="1", b="1"))
    storage.publish_files(tmp_path, fill(a="2", c="2"))
    assert visible(tmp_path) == ["MANIFEST.json", "a", "c", "notes.txt"]
    assert set(storage.verify(tmp_path).files) == {"a", "c"}


def test_published_files_reach_subfolders_and_other_manifests_stay(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "onnx").mkdir()
        (folder / "onnx" / "x").write_text("1")

    storage.publish_files(tmp_path, fill(a="1"))
    storage.publish_files(tmp_path, write, name="ONNX.json")
    assert set(storage.verify(tmp_path).files) == {"a"}
    assert set(storage.verify(tmp_path, "ONNX.json").files) == {"onnx/x"}


def test_a_folder_in_the_place_of_a_published_file_is_not_touched(tmp_path: Path) -> None:
    storage.publish_files(tmp_path, fill(b="1"))
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError) as caught:
        storage.publish_files(tmp_path, fill(a="2", b="2"))
    assert caught.value.where == str(tmp_path / "a")
    assert set(storage.verify(tmp_path).files) == {"b"}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    storage.write_file(path, "größer")
    storage.write_file(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert visible(tmp_path) == ["state.json"]


@pytest.mark.parametrize("name", ["owner", "files", "new", ".hidden", "a b", "模型", "x" * 255])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / ("y" * 100)
    storage.write_file(folder / "file" / name, name) if len(name) < 255 else storage.write_file(folder / name, name)
    storage.write_directory(folder / "folders" / name, lambda made: (made / name).write_text(name) and None)
    storage.write_directory(
        folder / "folders" / name, lambda made: (made / name).write_text(name) and None, replace=True
    )
    storage.publish_files(folder / "published", lambda made: (made / name).write_text(name) and None)
    assert set(storage.verify(folder / "folders" / name).files) == {name}
    assert set(storage.verify(folder / "published").files) == {name}
    storage.remove_directory(folder / "folders" / name)
    assert visible(folder / "folders") == []


def test_lines_are_appended_and_a_torn_one_is_closed_first(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    storage.append_line(path, '{"step": 1}')
    storage.append_line(path, '{"step": 2}\n')
    with path.open("a") as file:
        file.write('{"st')
    storage.append_line(path, '{"step": 3}')
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2}', '{"st', '{"step": 3}']


def test_removing_takes_folders_files_and_links_but_never_what_a_link_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("1")
    for name in ("link", "file", "never was"):
        storage.remove_directory(tmp_path / name)
    assert visible(tmp_path) == ["real"]
    storage.remove_directory(tmp_path / "real")
    assert visible(tmp_path) == []


def test_a_broken_folder_is_set_aside_under_a_free_name(tmp_path: Path) -> None:
    for number, name in enumerate(("checkpoint-3.broken", "checkpoint-3.broken-2")):
        (tmp_path / "checkpoint-3").mkdir()
        (tmp_path / "checkpoint-3" / "x").write_text(str(number))
        assert storage.set_aside(tmp_path / "checkpoint-3").name == name
    assert storage.numbered(tmp_path) == []
    assert (tmp_path / "checkpoint-3.broken-2" / "x").read_text() == "1"


def test_a_stream_is_absent_until_it_is_whole(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"first ")
        assert visible_but_hidden(tmp_path) == []
        file.write(b"last")

    storage.write_stream(tmp_path / "new" / "rows.jsonl", write)
    assert (tmp_path / "new" / "rows.jsonl").read_bytes() == b"first last"
    assert visible(tmp_path / "new") == ["rows.jsonl"]


def visible_but_hidden(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("rows.jsonl") if not any(part.startswith(".") for part in path.parts)]


def test_a_stream_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write_stream(tmp_path / "rows.jsonl", write, replace=True)
    assert (tmp_path / "rows.jsonl").read_text() == "old"
    assert visible(tmp_path) == ["rows.jsonl"]


def test_a_stream_writes_over_nothing_unless_told_to(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("old")
    for place in ("rows.jsonl", "."):
        with pytest.raises(InputError) as caught:
            storage.write_stream(tmp_path / place, lambda file: pytest.fail("the writer was called"))
        assert caught.value.id == "storage.exists"

    def another_was_faster(file: BinaryIO) -> None:
        file.write(b"mine")
        (tmp_path / "late.jsonl").write_text("theirs")

    with pytest.raises(InputError) as caught:
        storage.write_stream(tmp_path / "late.jsonl", another_was_faster)
    assert caught.value.id == "storage.exists"
    assert (tmp_path / "late.jsonl").read_text() == "theirs"
    assert visible(tmp_path) == ["late.jsonl", "rows.jsonl"]
