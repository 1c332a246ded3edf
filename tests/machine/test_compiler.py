"""Code compiled for this processor: made once, found again, made anew when anything changes, and never half."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from pathlib import Path

import pytest

from llama_factory.machine import compiler
from llama_factory.machine.compiler import CannotCompile, load_compiled

NONE: frozenset[str] = frozenset()

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not any(map(shutil.which, compiler.COMPILERS)), reason="no compiler here"
)


def source(folder: Path, text: str = "int answer() { return 42; }", name: str = "small.cpp") -> Path:
    file = folder / name
    file.write_text(f'extern "C" {text}\n')
    return file


def test_made_once_and_found_again(tmp_path):
    files, kept = [source(tmp_path)], tmp_path / "kept"
    assert load_compiled(files, kept, NONE).answer() == 42
    (made,) = kept.iterdir()
    before = made.stat().st_mtime_ns
    assert load_compiled(files, kept, NONE).answer() == 42
    assert [it.stat().st_mtime_ns for it in kept.iterdir()] == [before]


def test_another_source_header_or_compiler_is_another_library(tmp_path, monkeypatch):
    header = tmp_path / "number.h"
    header.write_text("#define NUMBER 1\n")
    file = tmp_path / "small.cpp"
    file.write_text('#include "number.h"\nextern "C" int answer() { return NUMBER; }\n')
    kept = tmp_path / "kept"
    assert load_compiled([file, header], kept, NONE).answer() == 1
    header.write_text("#define NUMBER 2\n")
    assert load_compiled([file, header], kept, NONE).answer() == 2
    assert len(list(kept.iterdir())) == 2
    another = tmp_path / "my-c++"
    another.symlink_to(shutil.which("c++") or shutil.which("g++") or "")
    monkeypatch.setenv("CXX", str(another))
    assert load_compiled([file, header], kept, NONE).answer() == 2
    assert len(list(kept.iterdir())) == 3


def test_every_reason_has_its_word(tmp_path, monkeypatch):
    good, kept = [source(tmp_path)], tmp_path / "kept"
    with pytest.raises(CannotCompile, match="processor: quantum"):
        load_compiled(good, kept, frozenset({"quantum"}))
    with pytest.raises(CannotCompile, match=r"failed: .*bad.cpp"):
        load_compiled([source(tmp_path, "int answer( {", "bad.cpp")], kept, NONE)
    assert list(kept.iterdir()) == []  # nothing half made stays
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCompile, match="folder: "):
        load_compiled(good, tmp_path / "file" / "kept", NONE)
    with monkeypatch.context() as patch:
        patch.setattr(compiler.sys, "platform", "darwin")
        with pytest.raises(CannotCompile, match="system: darwin"):
            load_compiled(good, kept, NONE)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(CannotCompile, match="compiler: "):
            load_compiled(good, kept, NONE)


def test_a_broken_library_in_the_cache_is_made_again(tmp_path):
    files = [source(tmp_path)]
    load_compiled(files, tmp_path / "elsewhere", NONE)
    (made,) = (tmp_path / "elsewhere").iterdir()
    broken = tmp_path / "kept" / made.name
    broken.parent.mkdir()
    broken.write_bytes(b"\0" * 100)
    assert load_compiled(files, tmp_path / "kept", NONE).answer() == 42
    assert broken.stat().st_size > 100


def _answer(folder: str) -> int:
    return int(load_compiled([Path(folder) / "small.cpp"], Path(folder) / "kept", NONE).answer())


@pytest.mark.slow
def test_several_processes_at_once_each_get_a_whole_one(tmp_path):
    source(tmp_path)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_answer, [str(tmp_path)] * 3) == [42] * 3
    assert len(list((tmp_path / "kept").iterdir())) == 1
