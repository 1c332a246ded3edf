"""Torch is made ready once, quietly, and what the user set stays set."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llama_factory import machine

REPORT = """
import json, os, resource, sys
from llama_factory import machine
machine.torch_setup()
import torch
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touch()
thp = os.environ.get("THP_MEM_ALLOC_ENABLE")
print(json.dumps({"threads": torch.get_num_threads(), "thp": thp, "faults": touch()}))
"""


def run(code: str = REPORT, **environ: str) -> dict:
    keep = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "THP_MEM_ALLOC_ENABLE")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**keep, **environ}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_torch_gets_every_core_once() -> None:
    assert run()["threads"] == machine.describe().cores


def test_what_the_user_set_stays_set() -> None:
    found = run(OMP_NUM_THREADS="1", THP_MEM_ALLOC_ENABLE="0")
    assert found["threads"] == 1
    assert found["thp"] == "0"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_large_buffer_that_comes_again_is_not_faulted_in_again() -> None:
    tuned = run()["faults"]
    plain = run(REPORT.replace("machine.torch_setup()", ""))["faults"]
    assert plain > 1000
    assert tuned < plain / 10


def test_a_system_without_mallopt_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert machine.keep_memory() is False
