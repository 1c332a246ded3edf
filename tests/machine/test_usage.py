"""The use of the machine, from numbers that somebody counted and files of the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llama_factory.machine import Gauge, Usage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:  1048576 kB\n")
    (tmp_path / "proc/self/status").write_text("VmHWM:  600000 kB\nVmRSS:  524288 kB\n")
    ticks(tmp_path, idle=1000, busy=1000)
    return tmp_path


def ticks(root: Path, *, idle: int, busy: int) -> None:
    (root / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")


def test_the_share_of_the_processor_is_of_the_threads_that_torch_uses(root: Path) -> None:
    gauge = Gauge(4, root=root)
    assert gauge.read(busy_s=10.0, cpu_s=20.0).cpu_percent == 50.0
    assert gauge.read(busy_s=10.0, cpu_s=41.0).cpu_percent == 100.0, "clocks differ by a tick; no share is above all"
    assert gauge.read(busy_s=0.0, cpu_s=0.0).cpu_percent == 0.0


def test_memory_is_what_this_process_takes_of_the_ram(root: Path) -> None:
    usage = Gauge(1, root=root).read(1.0, 1.0)
    assert (usage.memory, usage.memory_percent) == (512 * 2**20, 50.0)
    assert usage.figures() == {"cpu_percent": 100.0, "memory_gb": 0.537, "memory_percent": 50.0}


def test_processors_that_do_nothing_are_counted_since_the_last_reading(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    gauge = Gauge(4, root=root)
    ticks(root, idle=1300, busy=1100)
    assert gauge.read(1.0, 1.0).processors_free == pytest.approx(6.0)
    ticks(root, idle=1300, busy=1900)
    assert gauge.read(1.0, 1.0).processors_free == 0.0
    (root / "proc/stat").unlink()
    assert gauge.read(1.0, 1.0).processors_free is None


def test_a_gpu_that_tells_its_use_is_logged_beside_the_processor() -> None:
    assert Usage(10.0, 91.25, 2**30, 25.0).figures() == {
        "cpu_percent": 10.0, "gpu_percent": 91.2, "memory_gb": 1.074, "memory_percent": 25.0,
    }  # fmt: skip


def test_a_gpu_is_asked_through_torch_and_need_not_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stand-in for torch.cuda: no GPU was at hand."""
    import torch

    def no_library(device: object) -> int:
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 4 * 2**30))
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 88)
    usage = Gauge(1, "cuda:0", root).read(1.0, 1.0)
    assert (usage.gpu_percent, usage.memory_gb, usage.memory_percent) == (88.0, 3 * 2**30 / 1e9, 75.0)
    monkeypatch.setattr(torch.cuda, "utilization", no_library)
    assert Gauge(1, "cuda:0", root).read(1.0, 1.0).gpu_percent is None


def test_this_very_machine_can_be_read() -> None:
    usage = Gauge(1).read(1.0, 0.5)
    assert usage.cpu_percent == 50.0
    assert usage.memory > 2**20
    assert 0 < usage.memory_percent < 100
