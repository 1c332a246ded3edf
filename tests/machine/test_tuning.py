"""Torch is made ready once, quietly, and what the user set stays set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
        torch.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touch()
thp = os.environ.get("THP_MEM_ALLOC_ENABLE")
print(json.dumps({"threads": torch.get_num_threads(), "thp": thp, "faults": touch()}))
"""


def run(code: str = REPORT, **environ: str) -> Any:
    ours = ("OMP_NUM_THREADS", "THP_MEM_ALLOC_ENABLE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    keep = {key: value for key, value in os.environ.items() if key not in ours}
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
    tuned = run(OMP_NUM_THREADS="1")["faults"]
    plain = run(REPORT.replace("machine.torch_setup()", ""), OMP_NUM_THREADS="1")["faults"]
    assert plain > 1000
    assert tuned < plain / 10


SHAPES = """
import json
from llama_factory import machine
machine.torch_setup()
import torch
weight = torch.ones(256, 256, dtype=torch.bfloat16)
def use(lengths):
    for length in lengths:
        x = torch.ones(length, 256, dtype=torch.bfloat16, requires_grad=True)
        torch.nn.functional.linear(x, weight).sum().backward()
    return machine.memory().current
before = use([600] * 40)
print(json.dumps(use(range(64, 564, 2)) - before))
"""


@pytest.mark.skipif(not machine.describe().computes_bf16, reason="these kernels are made where bf16 is computed")
def test_a_new_length_in_every_step_does_not_fill_the_memory_with_kernels() -> None:
    plain = run(SHAPES.replace("machine.torch_setup()", ""), OMP_NUM_THREADS="1")
    assert plain > 50 << 20, "the library no longer keeps them: the setting can go"
    assert run(SHAPES, OMP_NUM_THREADS="1") < plain / 2


def test_a_system_without_mallopt_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert machine.keep_memory() is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a request to Linux")
def test_a_copy_of_a_file_is_set_aside_and_comes_back_as_it_was(tmp_path: Path) -> None:
    import numpy as np

    file = tmp_path / "numbers"
    np.arange(8 << 20, dtype=np.float32).tofile(file)
    numbers = np.memmap(file, dtype=np.float32, mode="c")
    total = numbers.sum(dtype=np.float64)
    before = machine.memory().current
    machine.set_aside(numbers.ctypes.data, numbers.nbytes)
    assert machine.memory().current < before - numbers.nbytes / 2
    assert numbers.sum(dtype=np.float64) == total
    numbers[5] = -1.0
    machine.set_aside(numbers.ctypes.data, numbers.nbytes)
    assert numbers[5] == -1.0
    machine.set_aside(numbers.ctypes.data, 5)  # less than a page: nothing to do


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a request to Linux")
def test_what_is_mapped_from_the_files_of_a_folder_is_set_aside(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "other").mkdir()
    mapped = []
    for file in (tmp_path / "numbers", tmp_path / "other" / "numbers"):
        np.arange(8 << 20, dtype=np.float32).tofile(file)
        mapped.append(np.memmap(file, dtype=np.float32, mode="c"))
    numbers, other = mapped
    numbers[5] = -1.0
    total = numbers.sum(dtype=np.float64)
    assert other.sum(dtype=np.float64) > total
    before = machine.memory().current
    machine.set_files_aside(tmp_path)
    assert before - 1.2 * numbers.nbytes < machine.memory().current < before - numbers.nbytes / 2
    assert numbers[5] == -1.0
    assert numbers.sum(dtype=np.float64) == total
    machine.set_files_aside(tmp_path / "nothing")
