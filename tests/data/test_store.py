"""The token store: what is written is what was rendered, a second run tokenises nothing, nothing stale is met."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_factory import storage
from llama_factory.data import TokenStore, caching
from llama_factory.data.store import Part
from llama_factory.data.writing import GrowingArray, PartWriter
from llama_factory.errors import DataError, LlamaFactoryError, MachineError, SeveralErrors, StartAgain
from llama_factory.records import MediaSpan, Origin, Rendered

ROWS = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9), min_size=1, max_size=12)


def rendered(ids: list[int], row: int, media: tuple[MediaSpan, ...] = ()) -> Rendered:
    return Rendered(
        text="",
        ids_T=np.array(ids, dtype=np.int32),
        weight_T=(np.array(ids, dtype=np.int64) % 3 / 2).astype(np.float32),
        message_T=(np.array(ids, dtype=np.int64) % 5 - 1).astype(np.int16),
        origin=Origin("f.jsonl", row),
        media=media,
    )


def write_part(folder: Path, rows: list[Rendered], chunk: int = 4) -> Part:
    folder.mkdir()
    with PartWriter(folder) as writer:
        for at in range(0, len(rows), chunk):
            writer.append(rows[at : at + chunk])
        writer.finish({"file": "f.jsonl"})
    return Part.open(folder)


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, chunk=st.integers(1, 5))
def test_what_is_read_is_what_was_rendered(rows, chunk, tmp_path_factory) -> None:
    made = [rendered(ids, at + 7) for at, ids in enumerate(rows)]
    store = TokenStore([write_part(tmp_path_factory.mktemp("store") / "part", made, chunk)])
    assert len(store) == len(made)
    assert store.tokens == sum(map(len, rows))
    for at, row in enumerate(made):
        found = store.row(at)
        weight_T = row.weight_T.copy()
        weight_T[0] = 0.0
        np.testing.assert_array_equal(found.ids_T, row.ids_T)
        np.testing.assert_array_equal(found.weight_T, weight_T)
        np.testing.assert_array_equal(found.message_T, row.message_T)
        assert str(found.origin) == str(store.origin(at)) == f"f.jsonl:{at + 7}"
        assert store.lengths[at] == row.ids_T.size
        assert store.supervised[at] == weight_T.sum(dtype=np.float64)
        assert found.ids_T.dtype == np.int32


def test_the_arrays_are_mapped_and_cannot_be_written(tmp_path) -> None:
    part = write_part(tmp_path / "part", [rendered([1, 2, 3], 1)])
    assert isinstance(part.ids_T, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        part.ids_T[0] = 4


def test_media_spans_come_back_with_their_row(tmp_path) -> None:
    spans = (MediaSpan("image", 1, 3, "a" * 64), MediaSpan("video", 3, 4, "b" * 64))
    rows = [rendered([1, 2, 3, 4, 5], 1), rendered([1, 2, 3, 4, 5], 2, spans), rendered([1, 2], 3, spans[:1])]
    store = TokenStore([write_part(tmp_path / "part", rows, chunk=1)])
    assert [store.row(at).media for at in range(3)] == [(), spans, spans[:1]]


def test_the_fingerprint_follows_the_content_and_not_the_chunks_or_the_folder(tmp_path) -> None:
    rows = [rendered([1, 2, 3], 1), rendered([4, 5], 2), rendered([6, 7], 3)]
    prints = [TokenStore([write_part(tmp_path / f"{chunk}", rows, chunk)]).fingerprint for chunk in (1, 2, 3)]
    assert len(set(prints)) == 1
    other = [rendered([1, 2], 1), rendered([3, 4, 5], 2), rendered([6, 7], 3)]
    assert TokenStore([write_part(tmp_path / "other", other)]).fingerprint != prints[0]
    whole = TokenStore([write_part(tmp_path / "again", rows)])
    assert whole.select(np.array([0, 2])).fingerprint != prints[0]


def test_several_parts_are_numbered_end_to_end_and_can_be_narrowed(tmp_path) -> None:
    first = write_part(tmp_path / "a", [rendered([1, 1], 1), rendered([2, 2, 2], 2)])
    second = write_part(tmp_path / "b", [rendered([3], 1), rendered([4, 4], 2)])
    store = TokenStore([first, second])
    assert [int(store.row(at).ids_T[0]) for at in range(4)] == [1, 2, 3, 4]
    some = store.select(np.array([3, 1]))
    assert [int(some.row(at).ids_T[0]) for at in range(2)] == [4, 2]
    assert some.lengths.tolist() == [2, 3]
    assert some.select(np.array([1])).row(0).ids_T[0] == 2
    for wrong in (-1, 4):
        with pytest.raises(IndexError):
            store.row(wrong)


def test_a_second_run_renders_nothing_and_says_so(desk, question) -> None:
    rows = [question(at) for at in range(1200)]
    first = desk.store(rows)
    assert desk.renderer.calls == [512, 512, 176]
    assert any("store: new" in line for line in desk.said)
    again = desk.prepare("train.jsonl")
    assert desk.renderer.rendered == 1200
    assert any("store: hit" in line for line in desk.said)
    assert again.summary.train[0].store == "hit"
    assert again.train.fingerprint == first.fingerprint


def test_whatever_shaped_the_rows_makes_a_miss_and_is_named(desk, question, renderer_class, monkeypatch) -> None:
    rows = [question(at) for at in range(30)]
    desk.store(rows)

    def changed(**keys) -> tuple[str, ...]:
        return desk.prepare("mine.jsonl" if "mine" in keys else "train.jsonl", **keys).summary.train[0].changed

    assert changed(cutoff_len=100) == ("cutoff_len 2048 -> 100",)
    assert changed(on_too_long="split") == ("on_too_long drop -> split",)
    assert changed(max_samples=7) == ("max_samples None -> 7",)
    assert changed() == ()
    desk.write("train.jsonl", rows[:29])
    assert changed() == ("file",)
    desk.renderer = renderer_class("other words")
    assert changed() == ("template or tokenizer",)
    assert any("template or tokenizer" in line for line in desk.said)
    monkeypatch.setattr(caching, "code_digest", lambda: "other code")
    assert changed() == ("llama_factory",)
    desk.register(named={"file_name": "train.jsonl", "columns": {"query": None}})
    assert desk.prepare("named").summary.train[0].changed == (
        "path train.jsonl -> " + str(desk.folder / "train.jsonl"),
        "dataset_info.json",
    )


def test_an_edit_that_keeps_size_and_time_is_still_seen(desk, question) -> None:
    import os

    path = desk.write("train.jsonl", [question(1)])
    facts = path.stat()
    desk.prepare("train.jsonl")
    path.write_text(path.read_text().replace("a1", "a2"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert desk.trained(desk.prepare("train.jsonl").train) == ["a2 a2 <stop >"]


def test_a_store_built_while_skipping_remembers_its_bad_rows(desk, question) -> None:
    desk.write("train.jsonl", [question(1), {"instruction": "q", "output": ""}, {"instruction": "q", "output": ""}])
    desk.prepare("train.jsonl", on_bad_row="skip")
    rendered_before = desk.renderer.rendered
    again = desk.prepare("train.jsonl", on_bad_row="skip")
    assert again.summary.train[0].account.bad == 2
    assert any("2 of 3" in line for line in desk.said)
    with pytest.raises(SeveralErrors) as caught:
        desk.prepare("train.jsonl")
    assert [error.where for error in caught.value.errors] == ["train.jsonl:2", "train.jsonl:3"]
    assert desk.renderer.rendered == rendered_before


def store_folder(desk) -> Path:
    (meta,) = desk.cache.glob("tokens/*/*/meta.json")
    return meta.parent


@pytest.mark.parametrize("name", ["ids.npy", "weights.npy", "offsets.npy", "media.npy", "meta.json", "MANIFEST.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_store_is_built_anew_and_said(desk, question, name, harm) -> None:
    before = desk.store([question(at) for at in range(5)]).fingerprint
    path = store_folder(desk) / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    else:
        content[-3] ^= 1
        path.write_bytes(bytes(content[:-2] if harm == "cut" else content))
    prepared = desk.prepare("train.jsonl")
    assert prepared.summary.train[0].store == "damaged"
    assert prepared.summary.train[0].changed == (
        (name,) if harm != "remove" or name != "MANIFEST.json" else (path.parent.name,)
    )
    assert any("damaged" in line for line in desk.said)
    assert prepared.train.fingerprint == before
    assert desk.prepare("train.jsonl").summary.train[0].store == "hit"


def test_files_that_do_not_fit_together_are_refused(tmp_path) -> None:
    write_part(tmp_path / "part", [rendered([1, 2, 3], 1), rendered([4, 5], 2)])
    np.save(tmp_path / "part" / "offsets.npy", np.array([0, 3, 9], dtype=np.int64))
    with pytest.raises(DataError) as caught:
        Part.open(tmp_path / "part")
    assert caught.value.id == "data.store-damaged"
    np.save(tmp_path / "part" / "offsets.npy", np.array([0, 3, 5], dtype=np.int64))
    np.save(tmp_path / "part" / "ids.npy", np.array([1, 2, 3, 4, 5], dtype=np.int64))
    with pytest.raises(DataError):
        Part.open(tmp_path / "part")


def test_a_file_that_changes_while_it_is_read_is_refused_and_leaves_no_store(desk, question, monkeypatch) -> None:
    path = desk.write("train.jsonl", [question(at) for at in range(3)])
    original = desk.renderer.render_many

    def render_many(conversations):
        path.write_text(path.read_text() + "\n")
        return original(conversations)

    monkeypatch.setattr(desk.renderer, "render_many", render_many)
    with pytest.raises(DataError) as caught:
        desk.prepare("train.jsonl")
    assert caught.value.id == "data.changed-while-reading"
    assert not list(desk.cache.glob("tokens/*/*/meta.json"))


def test_a_run_that_fails_leaves_no_store_and_no_litter(desk, question) -> None:
    desk.write("train.jsonl", [question(1), {"instruction": "q"}])
    with pytest.raises(LlamaFactoryError):
        desk.prepare("train.jsonl")
    assert not list(desk.cache.rglob("*.npy"))


def test_a_full_disk_leaves_no_half_store(desk, question, monkeypatch) -> None:
    import errno

    desk.write("train.jsonl", [question(at) for at in range(600)])
    with monkeypatch.context() as patch:
        patch.setattr(GrowingArray, "append", full_after_the_first_chunk(GrowingArray.append, errno.ENOSPC))
        with pytest.raises(MachineError) as caught:
            desk.prepare("train.jsonl")
    assert caught.value.id == "storage.full"
    assert not list(desk.cache.rglob("*.npy"))
    assert len(desk.prepare("train.jsonl").train) == 600


def full_after_the_first_chunk(append, number):
    def limited(self, array):
        if self.size > 100:
            raise OSError(number, "No space left on device")
        append(self, array)

    return limited


def test_old_stores_of_a_file_are_removed(desk, question) -> None:
    desk.write("train.jsonl", [question(1)])
    for limit in range(100, 112):
        desk.prepare("train.jsonl", cutoff_len=limit)
    assert len(list(desk.cache.glob("tokens/*/*/meta.json"))) == caching.KEPT_STORES
    assert desk.prepare("train.jsonl", cutoff_len=111).summary.train[0].store == "hit"


def test_a_file_whose_fast_encoding_differed_is_made_again_from_its_first_row_and_says_so(desk, question) -> None:
    desk.write("train.jsonl", [question(at) for at in range(1200)])
    expected = desk.prepare("train.jsonl").train.fingerprint
    plainly, chunks = desk.renderer.render_many, []

    def render_many(conversations):
        chunks.append(str(conversations[0].origin))
        if len(chunks) == 2:
            raise StartAgain("render.fast-encoding-differs", library="fast 1.0", text="'row'")
        return plainly(conversations)

    desk.renderer.render_many = render_many
    desk.renderer.fingerprint = "another"
    prepared = desk.prepare("train.jsonl")
    assert prepared.train.fingerprint == expected
    assert chunks[2] == chunks[0] == "train.jsonl:1"
    assert any("fast 1.0" in line for line in desk.said)


RACE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import WordRenderer
from llama_factory.config import from_mapping
from llama_factory.data import prepare

class Slow(WordRenderer):
    def render_many(self, conversations):
        time.sleep(0.3)
        return super().render_many(conversations)

run = from_mapping({"dataset": "train.jsonl"}, "test")
print("ready", flush=True)
sys.stdin.readline()
prepared = prepare(run, Slow(), cache=Path(sys.argv[2]), say=lambda line: None)
print(len(prepared.train), prepared.train.fingerprint, flush=True)
"""


def test_four_processes_at_once_end_with_one_whole_store(desk, question) -> None:
    desk.write("train.jsonl", [question(at) for at in range(600)])
    command = [sys.executable, "-c", RACE, str(Path(__file__).parent), str(desk.cache)]
    racers = [
        subprocess.Popen(command, cwd=desk.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in racers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate("go\n", timeout=60)[0] for process in racers]
    assert [process.returncode for process in racers] == [0, 0, 0, 0]
    assert len(set(said)) == 1
    assert said[0].startswith("600 ")
    storage.verify(store_folder(desk))
    assert desk.prepare("train.jsonl").summary.train[0].store == "hit"
    assert not [path for path in store_folder(desk).parent.iterdir() if path.name.startswith(".")]


def test_the_meta_file_is_plain_json_without_machine_facts(desk, question) -> None:
    desk.store([question(1)])
    meta = json.loads((store_folder(desk) / "meta.json").read_text())
    assert set(meta) == {"file", "files", "key", "account", "content"}
    assert meta["file"] == "train.jsonl"
