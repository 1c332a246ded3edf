"""Keys from values, digests of files, and the folder that remembers them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from llama_factory import storage
from llama_factory.errors import MachineError
from llama_factory.storage import digests as room


def old_file(path: Path, data: bytes) -> Path:
    """A file that was last touched long ago, as far as `file_digest` can tell."""
    path.write_bytes(data)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SETTLED_NS", -1)


def test_a_key_does_not_depend_on_the_order_and_is_the_same_for_ever() -> None:
    key = storage.digest({"a": 1, "b": "x", "c": None, "d": b"raw", "e": 0.5})
    assert key == storage.digest({"e": 0.5, "d": b"raw", "c": None, "b": "x", "a": 1})
    assert key == "5d102d0cb8aa569a8d87e21fd64c3935429276041fc1a49f8267f67c31ae2be6"


def test_values_of_different_types_make_different_keys() -> None:
    values = [1, 1.0, "1", b"1", None, "None", "", b"", 0, True]
    assert len({storage.digest({"a": value}) for value in values}) == len(values)
    assert storage.digest({"a": "b"}) != storage.digest({"b": "a"})


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(9_000_000)
    assert (
        storage.file_digest(old_file(tmp_path / "x", data), cache=tmp_path / "cache")
        == hashlib.sha256(data).hexdigest()
    )


@pytest.mark.usefixtures("settled")
def test_a_known_file_is_not_read_again_and_a_changed_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_file(tmp_path / "x", b"first")
    read: list[Path] = []
    real = room.hash_file
    monkeypatch.setattr(room, "hash_file", lambda path: read.append(path) or real(path))
    first = storage.file_digest(path, cache=tmp_path / "cache")
    assert storage.file_digest(path, cache=tmp_path / "cache") == first
    assert len(read) == 1
    stamp = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert storage.file_digest(path, cache=tmp_path / "cache") == hashlib.sha256(b"other").hexdigest()
    assert len(read) == 2


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    storage.file_digest(old_file(tmp_path / "x", b"fresh"), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("settled")
def test_a_damaged_memory_is_not_believed(tmp_path: Path) -> None:
    path = old_file(tmp_path / "x", b"first")
    right = storage.file_digest(path, cache=tmp_path / "cache")
    (memory,) = (tmp_path / "cache" / "digests").iterdir()
    for damage in (b"", b"[]", b'{"facts": 1}', b"\xff"):
        memory.write_bytes(damage)
        assert storage.file_digest(path, cache=tmp_path / "cache") == right


@pytest.mark.usefixtures("settled")
def test_a_cache_that_cannot_be_written_changes_no_digest(tmp_path: Path) -> None:
    path = old_file(tmp_path / "x", b"first")
    (tmp_path / "cache").write_text("a file in the way")
    assert storage.file_digest(path, cache=tmp_path / "cache") == hashlib.sha256(b"first").hexdigest()


def test_a_missing_file_is_a_letter(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        storage.file_digest(tmp_path / "never", cache=tmp_path)
    assert caught.value.where == str(tmp_path / "never")


def test_the_cache_folder_follows_the_environment() -> None:
    assert storage.cache_folder({"LLAMA_FACTORY_CACHE": "/big/cache", "XDG_CACHE_HOME": "/x"}) == Path("/big/cache")
    assert storage.cache_folder({"XDG_CACHE_HOME": "/x", "HOME": "/home/a"}) == Path("/x/llama_factory")
    assert storage.cache_folder({"XDG_CACHE_HOME": "relative", "HOME": "/home/a"}) == Path(
        "/home/a/.cache/llama_factory"
    )
    assert storage.cache_folder({}).is_absolute()
