"""Two checkouts may fetch the model at the same time: the second waits for the first."""

from __future__ import annotations

import importlib
import subprocess
import sys
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
def fetch_model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("fetch_model")


def holder(cache: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(cache), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_until_the_first_is_done_and_says_so(fetch_model, tmp_path, capsys) -> None:
    with holder(tmp_path, 1.0) as first, fetch_model.alone_in(tmp_path):
        assert first.wait(timeout=10) == 0
        with pytest.raises(MachineError), storage.Lock(tmp_path):
            pass
    assert capsys.readouterr().out.count("Waiting for another process") == 1


def test_its_patience_ends_with_the_letter_of_the_lock(fetch_model, tmp_path) -> None:
    with holder(tmp_path, 30.0) as first:
        with pytest.raises(MachineError) as caught, fetch_model.alone_in(tmp_path, patience_s=0.0):
            pass
        first.kill()
    assert caught.value.id == "storage.locked"
