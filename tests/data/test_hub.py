"""Data sets of a hub, asked for over real connections: which files are fetched, which commit, and what is said.

Each run is a process of its own, for the hub's library reads its settings when it is imported.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llama_factory.data import bucket, hub, sources
from llama_factory.data.registry import find
from llama_factory.errors import LlamaFactoryError

CODE = """
import json, sys
from pathlib import Path
from llama_factory.data import registry, sources
from llama_factory.errors import LlamaFactoryError
name, folder, cache = sys.argv[1:]
try:
    entry = sources.fetch(registry.find(name, folder), Path(cache))
    rows = [[str(row[0]), row[1]] for row in sources.rows(entry)]
    notes = [[note.id, dict(note.values)] for note in entry.notes]
    print(json.dumps({"rows": rows, "notes": notes, "revision": entry.revision, "shown": entry.shown}))
except LlamaFactoryError as error:
    print(json.dumps({"id": error.id, "letter": error.letter(), "zh": error.letter("zh"), "exit": error.exit_code}))
"""

fake = importlib.util.spec_from_file_location("fake_hub", Path(__file__).with_name("fake_hub.py"))
assert fake is not None
assert fake.loader is not None
fake_hub = importlib.util.module_from_spec(fake)
sys.modules["fake_hub"] = fake_hub
fake.loader.exec_module(fake_hub)


def lines(*words: str) -> bytes:
    return "".join(json.dumps({"instruction": "q", "output": word}) + "\n" for word in words).encode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """A hub that answers, and `ask(name)`: what a process gets that names a data set."""
    with fake_hub.serving(fake_hub.Hub()) as server:

        def ask(name: str, *, folder: str | Path = tmp_path, **environ: str) -> dict[str, Any]:
            given = {"HF_ENDPOINT": server.endpoint, "HF_HUB_CACHE": str(tmp_path / "hf"), **environ}
            given |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1"}
            done = subprocess.run(
                [sys.executable, "-c", CODE, name, str(folder), str(tmp_path / "cache")],
                env={**os.environ, **given}, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return found

        yield SimpleNamespace(hub=server, ask=ask, folder=tmp_path)


def test_a_data_set_is_fetched_by_its_name_and_pinned_to_its_commit(world) -> None:
    sha = world.hub.publish(
        "owner/name",
        {"README.md": b"# about", "data/train.jsonl": lines("a", "b"), "data/test.jsonl": lines("t"), "big.bin": b"x"},
    )
    found = world.ask("owner/name")
    assert [row[1]["output"] for row in found["rows"]] == ["a", "b"]
    assert found["rows"][1][0] == f"owner/name@{sha[:7]}/data/train.jsonl:2"
    assert (found["revision"], found["shown"]) == (sha, f"owner/name@{sha[:7]}")
    assert found["notes"] == [["data.files-chosen", {"count": 1, "split": "train", "left": "data/test.jsonl"}]]
    assert not [path for path in world.hub.asked if path.endswith(("test.jsonl", "big.bin"))]


def test_a_new_commit_is_met_and_without_a_network_the_last_one(world) -> None:
    first = world.hub.publish("owner/name", {"train.jsonl": lines("old")})
    assert world.ask("owner/name")["revision"] == first
    second = world.hub.publish("owner/name", {"train.jsonl": lines("new"), "more.jsonl": lines("x")})
    assert world.ask("owner/name")["rows"][0][1]["output"] == "new"
    world.hub.asked.clear()
    for environ in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        found = world.ask("owner/name", **environ)
        assert (found["revision"], found["rows"][0][1]["output"]) == (second, "new")
    assert not world.hub.asked


def test_without_a_network_and_without_a_copy_a_letter_says_what_to_set(world) -> None:
    for environ in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        found = world.ask("owner/name", **environ)
        assert (found["id"], found["exit"]) == ("data.hub-unreachable", 2)
        for word in ("HF_ENDPOINT", "USE_MODELSCOPE_HUB=1", "path"):
            assert word in found["letter"]
        assert "HF_ENDPOINT" in found["zh"]


def test_a_copy_that_is_not_whole_is_not_taken_for_the_data_set(world) -> None:
    world.hub.publish(
        "owner/name", {"train-00000-of-00002.jsonl": lines("a"), "train-00001-of-00002.jsonl": lines("b")}
    )
    assert len(world.ask("owner/name")["rows"]) == 2
    (lost,) = world.folder.glob("hf/datasets--owner--name/snapshots/*/train-00001-of-00002.jsonl")
    lost.unlink()
    assert world.ask("owner/name", HF_HUB_OFFLINE="1")["id"] in ("data.hub-unreachable", "data.hub-incomplete")
    assert len(world.ask("owner/name")["rows"]) == 2


def test_a_copy_that_another_program_made_is_found(world) -> None:
    sha = world.hub.publish("owner/name", {"README.md": b"#", "train.jsonl": lines("a")})
    world.ask("owner/name")
    refs = world.folder / "hf" / "datasets--owner--name" / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text(sha)
    for memory in (world.folder / "cache" / "hub").iterdir():
        memory.unlink()
    assert world.ask("owner/name", HF_HUB_OFFLINE="1")["rows"][0][1]["output"] == "a"


CARD = b"""---
configs:
- config_name: en
  data_files: en/*.jsonl.gz
- config_name: zh
  data_files:
  - split: train
    path: zh/part-*.csv
  - split: held_out
    path: zh/rest.csv
---
"""


def test_the_registry_chooses_the_subset_and_the_split_by_the_card(world) -> None:
    world.hub.publish(
        "owner/many",
        {
            "README.md": CARD,
            "en/1.jsonl.gz": gzip.compress(lines("english")),
            "zh/part-1.csv": "text,label\n一,a\n".encode(),
            "zh/part-2.csv": "text,label\n二,b\n".encode(),
            "zh/rest.csv": "text,label\n三,c\n".encode(),
            "many.py": b"print('never run')",
        },
    )
    info = {
        "en": {"hf_hub_url": "owner/many", "subset": "en"},
        "zh": {"hf_hub_url": "owner/many", "subset": "zh", "num_samples": 2},
        "held": {"hf_hub_url": "owner/many", "subset": "zh", "split": "held_out"},
        "none": {"hf_hub_url": "owner/many"},
        "folder": {"hf_hub_url": "owner/many", "folder": "en"},
    }
    (world.folder / "dataset_info.json").write_text(json.dumps(info))
    assert [row[1]["output"] for row in world.ask("en")["rows"]] == ["english"]
    assert [row[1]["text"] for row in world.ask("zh")["rows"]] == ["一", "二"]
    assert [row[1]["label"] for row in world.ask("held")["rows"]] == ["c"]
    assert [row[1]["output"] for row in world.ask("folder")["rows"]] == ["english"]
    assert world.ask("none")["id"] == "data.subset-needed"
    assert not [path for path in world.hub.asked if path.endswith(".py")]


def test_a_data_set_that_only_a_program_can_make_is_refused(world) -> None:
    world.hub.publish("owner/script", {"script.py": b"boom", "README.md": b"#"})
    found = world.ask("owner/script")
    assert (found["id"], found["exit"]) == ("data.hub-script", 3)


def test_a_name_that_is_not_there_or_not_given_to_everybody_is_refused(world) -> None:
    assert world.ask("owner/nothing")["id"] == "data.hub-no-such"
    world.hub.publish("owner/gated", {"train.jsonl": lines("a")})
    world.hub.gated.add("owner/gated")
    assert world.ask("owner/gated")["id"] == "data.hub-gated"


def test_online_takes_every_name_as_a_hubs_and_remote_reads_a_registry_there(world) -> None:
    world.hub.publish("owner/identity", {"train.jsonl": lines("a")})
    assert len(world.ask("owner/identity", folder="ONLINE")["rows"]) == 1
    registry = {"inside": {"file_name": "deep/rows.jsonl"}, "other": {"hf_hub_url": "owner/identity"}}
    files = {"dataset_info.json": json.dumps(registry).encode(), "deep/rows.jsonl": lines("x"), "y.jsonl": lines("y")}
    world.hub.publish("owner/registry", files)
    assert [row[1]["output"] for row in world.ask("inside", folder="REMOTE:owner/registry")["rows"]] == ["x"]
    assert [row[1]["output"] for row in world.ask("other", folder="REMOTE:owner/registry")["rows"]] == ["a"]
    assert world.ask("inside", folder="REMOTE:owner/identity")["id"] == "data.no-remote-registry"


# --- ModelScope, with a client that stands in for its own -----------------------------------------------------


@pytest.fixture
def modelscope(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The two calls of ModelScope's client that are used, over a folder."""

    class HubError(Exception):
        pass

    class NotExistError(HubError):
        pass

    root = tmp_path / "there"
    state = SimpleNamespace(root=root, error=None, patterns=[])

    class HubApi:
        def list_repo_files(self, name: str, repo_type: str) -> list[Any]:
            assert repo_type == "dataset"
            if state.error is not None:
                raise state.error
            files = [path for path in root.rglob("*") if path.is_file()]
            return [
                SimpleNamespace(path=path.relative_to(root).as_posix(), sha256=None, blob_id="b", size=1, type="blob")
                for path in files
            ]

        def download_repo(self, name: str, *, repo_type: str, allow_patterns: list[str]) -> Path:
            state.patterns += allow_patterns
            return root

    names = ("InvalidParameter", "AuthenticationError", "PermissionDeniedError")
    errors = SimpleNamespace(
        HubError=HubError, NotExistError=NotExistError, **{name: type(name, (HubError,), {}) for name in names}
    )
    monkeypatch.setitem(sys.modules, "modelscope_hub", SimpleNamespace(HubApi=HubApi, errors=errors))
    state.errors = errors
    return state


def test_modelscope_is_asked_where_the_environment_says_so(modelscope, tmp_path) -> None:
    (modelscope.root / "data").mkdir(parents=True)
    (modelscope.root / "data" / "train[1].jsonl").write_bytes(lines("a"))
    entry = find("owner/name", str(tmp_path), {"USE_MODELSCOPE_HUB": "1"})
    fetched = sources.fetch(entry, tmp_path / "cache")
    assert modelscope.patterns == ["data/train[[]1].jsonl"]
    assert [row[1]["output"] for row in sources.rows(fetched)] == ["a"]
    assert len(fetched.revision) == 64
    modelscope.error = modelscope.errors.HubError("no route")
    assert sources.fetch(entry, tmp_path / "cache").revision == fetched.revision
    with pytest.raises(LlamaFactoryError) as caught:
        sources.fetch(entry, tmp_path / "other")
    assert caught.value.id == "data.hub-unreachable"
    assert "ModelScope cannot be reached" in caught.value.letter()
    modelscope.error = modelscope.errors.NotExistError("none")
    with pytest.raises(LlamaFactoryError) as caught:
        sources.fetch(entry, tmp_path / "cache")
    assert caught.value.id == "data.hub-no-such"


def test_modelscope_without_its_client_names_the_line_that_installs_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(LlamaFactoryError) as caught:
        sources.fetch(find("owner/name", str(tmp_path), {"USE_MODELSCOPE_HUB": "1"}), tmp_path)
    assert 'pip install "llama-factory[modelscope]"' in caught.value.letter()


def test_a_pattern_meets_its_own_name_and_no_other() -> None:
    import fnmatch

    for name in ("a[1]*.json", "what?.csv", "plain.txt"):
        assert fnmatch.fnmatch(name, hub.literally(name))
    assert not fnmatch.fnmatch("a1x.json", hub.literally("a[1]*.json"))


# --- buckets, over a file system in memory --------------------------------------------------------------------


@pytest.fixture
def bucket_system() -> Iterator[Any]:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Bucket(MemoryFileSystem):
        protocol = "s3"
        store: dict[str, Any] = {}  # noqa: RUF012
        pseudo_dirs = [""]  # noqa: RUF012

    fsspec.register_implementation("s3", Bucket, clobber=True)
    yield Bucket(skip_instance_cache=True)
    importlib.import_module("fsspec.registry")._registry.pop("s3", None)


def test_a_bucket_is_fetched_once_and_again_when_it_changed(bucket_system, tmp_path) -> None:
    bucket_system.pipe({"s3://b/set/train.jsonl": lines("a"), "s3://b/set/test.jsonl": lines("t")})
    entry = find("s3://b/set", str(tmp_path))
    assert entry.place == "cloud"
    fetched = sources.fetch(entry, tmp_path)
    assert [row[1]["output"] for row in sources.rows(fetched)] == ["a"]
    assert fetched.files[0].shown == "s3://b/set/train.jsonl"
    assert bucket.fetch("s3://b/set", tmp_path) == fetched.path
    bucket_system.pipe({"s3://b/set/train.jsonl": lines("a", "b")})
    assert len(list(sources.rows(sources.fetch(entry, tmp_path)))) == 2
    one = sources.fetch(find("s3://b/set/test.jsonl", str(tmp_path)), tmp_path)
    assert [str(row[0]) for row in sources.rows(one)] == ["s3://b/set/test.jsonl:1"]


def test_a_bucket_that_cannot_be_read_is_refused(bucket_system, tmp_path, monkeypatch) -> None:
    for address, id in (("s3://b/nothing", "data.cloud-nothing"), ("ftp://b/x", "data.cloud-scheme")):
        with pytest.raises(LlamaFactoryError) as caught:
            bucket.fetch(address, tmp_path)
        assert caught.value.id == id
    with pytest.raises(LlamaFactoryError) as caught:
        bucket.fetch("gs://b/x", tmp_path)
    assert caught.value.id == "data.library-needed"
    assert 'pip install "gcsfs"' in caught.value.letter()
    monkeypatch.setattr(bucket, "_fetch", lambda *given: 1 / 0)
    with pytest.raises(LlamaFactoryError) as caught:
        bucket.fetch("s3://b/x", tmp_path)
    assert caught.value.id == "data.cloud-failed"
