"""From a name to a folder: here, on a hub that answers, on a hub that does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from llama_factory.errors import InputError
from llama_factory.model.locate import locate

SCRIPT = """
import json, sys
from llama_factory.errors import LlamaFactoryError
from llama_factory.model.locate import locate
try:
    found = {"folder": str(locate(sys.argv[1], revision=sys.argv[2], cache_dir=sys.argv[3]))}
except LlamaFactoryError as error:
    found = {"id": error.id, "letter": error.letter()}
print(json.dumps(found))
"""
PLANNED = """
import json, sys
from llama_factory.errors import LlamaFactoryError
from llama_factory.recipes.plan import find_shape
try:
    found = {"shape": str(find_shape(sys.argv[1]))}
except LlamaFactoryError as error:
    found = {"id": error.id, "letter": error.letter()}
print(json.dumps(found))
"""
CODES = {"gone/model": (404, "RepoNotFound"), "gated/model": (403, "GatedRepo"), "old/model": (404, "RevisionNotFound")}


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = self.path.split("/")
        name = "/".join(asked[3:5] if asked[1] == "api" else asked[1:3])
        status, code = CODES.get(name, (404, ""))  # the client asks for other things too
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(name: str, endpoint: str, folder: Path, script: str = SCRIPT, **environment: str) -> dict[str, str]:
    """In a process of its own, because the hub's client reads its environment once."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", script, name, "main", str(folder)],
        capture_output=True, text=True, check=True,
        env={**clean, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder), **environment},
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(str(tmp_path)) == tmp_path
    (tmp_path / "Qwen2-7B").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("Qwen2-7B") == Path("Qwen2-7B")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/Qwen2-7B") == tmp_path / "Qwen2-7B"


def test_a_path_that_leads_nowhere_is_never_looked_up_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "Qwen2-7B-Instruct").mkdir()
    with pytest.raises(InputError) as caught:
        locate(str(tmp_path / "Qwen2-7B-Instrct"))
    assert caught.value.id == "model.no-such-folder"
    assert "`Qwen2-7B-Instruct`" in caught.value.letter()
    for name in ("./nothing", "~/nothing-of-this-name", "a/b/c/d", "C:\\models\\qwen", "../gone/model"):
        with pytest.raises(InputError) as caught:
            locate(name)
        assert caught.value.id == "model.no-such-folder"


def test_a_misspelt_folder_beside_others_is_a_folder_and_not_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "SmolLM2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="`SmolLM2`"):
        locate("models/SmolLM")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    for name, id in (("model.gguf", "model.gguf-file"), ("config.json", "model.file-not-folder")):
        (tmp_path / name).touch()
        with pytest.raises(InputError) as caught:
            locate(str(tmp_path / name))
        assert caught.value.id == id
    with pytest.raises(InputError, match=r"python -m llama_factory.model.gguf .*model.gguf"):
        locate(str(tmp_path / "model.gguf"))


def test_a_hub_that_cannot_be_reached_is_said_with_what_to_do(tmp_path: Path) -> None:
    found = ask("some/model", "http://127.0.0.1:9", tmp_path)
    assert found["id"] == "model.unreachable"
    assert "HF_ENDPOINT" in found["letter"]


@pytest.mark.parametrize(
    ("name", "id"),
    [("gone/model", "model.not-on-hub"), ("gated/model", "model.gated"), ("old/model", "model.no-such-revision")],
)
def test_what_the_hub_refuses_is_said_in_its_own_letter(hub: str, tmp_path: Path, name: str, id: str) -> None:
    assert ask(name, hub, tmp_path)["id"] == id


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("gone/model", "planner.model-unknown"),
        ("gated/model", "model.gated"),
        ("a name/model", "planner.model-unknown"),
    ],
)
def test_a_plan_for_a_model_that_a_hub_does_not_give_says_which_are_known_or_that_there_is_a_gate(
    hub: str, tmp_path: Path, name: str, id: str
) -> None:
    found = ask(name, hub, tmp_path, PLANNED)
    assert found["id"] == id
    assert ("Qwen2.5-7B" in found["letter"]) == (id == "planner.model-unknown")


def test_a_proxy_that_refuses_is_a_hub_that_cannot_be_reached(hub: str, tmp_path: Path) -> None:
    """Its error is of the client below the hub's, and not among those that it makes its own."""
    through = {"HTTPS_PROXY": hub, "https_proxy": hub, "NO_PROXY": "", "no_proxy": ""}
    for script, id in ((SCRIPT, "model.unreachable"), (PLANNED, "planner.model-unknown")):
        assert ask("some/model", "https://hub.invalid", tmp_path, script, **through)["id"] == id
