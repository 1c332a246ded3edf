"""The machine as the kernel tells it, on made-up machines and on this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llama_factory import machine

X86 = """processor\t: {n}
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9755
physical id\t: {socket}
core id\t: {core}
flags\t\t: fpu avx2 avx512f avx512_bf16 something_else

"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16 i8mm\n\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cores with two threads each; eight processors that this process may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    put(tmp_path, "proc/cpuinfo", "".join(X86.format(n=n, socket=0, core=n % 4) for n in range(8)))
    put(tmp_path, "proc/meminfo", "MemTotal:       16384 kB\nMemFree:        1 kB\n")
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_two_threads_of_a_core_are_one_core(root: Path) -> None:
    found = machine.describe(root)
    assert (found.cpu, found.cores, found.threads, found.ram) == ("AMD EPYC 9755", 4, 8, 16384 * 1024)
    assert found.flags == {"avx2", "avx512f", "avx512_bf16"}
    assert found.gpus == ()


def test_the_same_core_numbers_in_two_sockets_are_different_cores(root: Path) -> None:
    put(root, "proc/cpuinfo", "".join(X86.format(n=n, socket=n // 4, core=n % 4) for n in range(8)))
    assert machine.describe(root).cores == 8


def test_only_the_processors_that_this_process_may_use_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 4, 5})
    found = machine.describe(root)
    assert (found.cores, found.threads) == (2, 3)


@pytest.mark.parametrize(
    ("files", "cores", "ram"),
    [
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n", "sys/fs/cgroup/memory.max": "1000000\n"}, 3, 1_000_000),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}, 4, 16384 * 1024),
        ({"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1, 16384 * 1024),
        (
            {
                "proc/self/cgroup": "0::/jobs/mine\n",
                "sys/fs/cgroup/jobs/memory.max": "2000000\n",
                "sys/fs/cgroup/jobs/mine/memory.max": "3000000\n",
                "sys/fs/cgroup/jobs/mine/cpu.max": "200000 100000\n",
            },
            2,
            2_000_000,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000000\n",
            },
            1,
            4_000_000,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, 4, 16384 * 1024),
    ],
)  # fmt: skip
def test_the_tightest_limit_of_a_container_holds(root: Path, files: dict[str, str], cores: int, ram: int) -> None:
    for name, text in files.items():
        put(root, name, text)
    found = machine.describe(root)
    assert (found.cores, found.ram) == (cores, ram)


def test_bf16_is_a_matter_of_the_processors_flags(root: Path) -> None:
    assert machine.describe(root).computes_bf16
    put(root, "proc/cpuinfo", X86.format(n=0, socket=0, core=0).replace("avx512_bf16", "avx512_vnni"))
    assert not machine.describe(root).computes_bf16
    put(root, "proc/cpuinfo", X86.format(n=0, socket=0, core=0).replace("avx512_bf16", "amx_tile amx_bf16"))
    assert machine.describe(root).computes_bf16
    put(root, "proc/cpuinfo", ARM)
    assert machine.describe(root).computes_bf16
    put(root, "proc/cpuinfo", ARM.replace("bf16", ""))
    assert not machine.describe(root).computes_bf16


def test_cards_are_named_by_their_driver(root: Path) -> None:
    put(root, "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA A100\nIRQ: 1\n")
    put(root, "proc/driver/nvidia/gpus/0000:02:00.0/information", "IRQ: 2\n")
    assert machine.describe(root).gpus == ("NVIDIA A100", "0000:02:00.0")


def test_a_system_without_these_files_is_described_all_the_same(tmp_path: Path) -> None:
    found = machine.describe(tmp_path)
    assert found.cpu
    assert found.cores >= 1
    assert found.ram > 2**28
    assert machine.memory(tmp_path).peak >= machine.memory(tmp_path).current > 2**20


MEMORY = """
from llama_factory import machine
before = machine.memory()
block = bytearray(64 << 20)
for page in range(0, len(block), 4096):
    block[page] = 1
with_block = machine.memory()
del block
after = machine.memory()
assert with_block.current - before.current > 60 << 20
assert after.current < with_block.current
assert after.peak >= with_block.current - (1 << 20)  # the kernel counts pages in batches for each thread
print("measured")
"""


def test_memory_is_that_of_this_process_and_the_peak_stays() -> None:
    """In a process of its own: one that trained keeps freed memory, which then serves without growing."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=60)
    assert done.stdout == "measured\n", done.stderr


def test_memory_reads_the_kernels_kilobytes(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/status", "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\n")
    assert machine.memory(tmp_path) == machine.Memory(1500 * 1024, 2000 * 1024)


AVAILABLE = "MemTotal:       16384 kB\nMemFree:        1 kB\nMemAvailable:    9000 kB\n"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 9000),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 9000),
        ({"sys/fs/cgroup/memory.max": f"{12000 * 1024}\n"}, 9000),
        ({"sys/fs/cgroup/memory.max": f"{4000 * 1024}\n"}, 2500),
        ({"sys/fs/cgroup/memory.max": f"{1000 * 1024}\n"}, 0),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{4000 * 1024}\n"}, 2500),
        (
            {
                "proc/self/cgroup": "0::/jobs/mine\n",
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/jobs/memory.max": f"{5000 * 1024}\n",
                "sys/fs/cgroup/jobs/mine/memory.max": f"{6000 * 1024}\n",
            },
            3500,
        ),
    ],
)  # fmt: skip
def test_free_memory_is_what_is_available_and_what_the_limit_leaves(
    root: Path, files: dict[str, str], free: int
) -> None:
    put(root, "proc/meminfo", AVAILABLE)
    put(root, "proc/self/status", "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1500 kB\n")
    for name, text in files.items():
        put(root, name, text)
    assert machine.free_memory(root) == free * 1024


def test_a_kernel_that_does_not_say_what_is_available_is_asked_for_all_it_has(root: Path) -> None:
    put(root, "proc/self/status", "VmRSS:\t    1500 kB\n")
    assert machine.free_memory(root) == 16384 * 1024


def test_free_memory_of_this_machine_and_of_one_without_these_files_is_a_number_of_bytes(tmp_path: Path) -> None:
    assert 0 < machine.free_memory() <= machine.describe().ram
    assert machine.free_memory(tmp_path) > 2**28


def test_this_machine_is_described_truly() -> None:
    found = machine.describe()
    assert 1 <= found.cores <= found.threads <= (os.cpu_count() or 1)
    assert found.ram <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_table_of_env_says_what_a_bug_report_needs() -> None:
    rows = dict(machine.environment())
    for key in ("llamafactory", "python", "torch", "transformers", "peft", "cpu", "cores", "memory", "disk free here"):
        assert rows[key].strip("-"), key
    assert all("\n" not in value and "/" not in value for value in rows.values())


def test_neither_the_description_nor_the_table_loads_torch() -> None:
    code = """
import sys
from llama_factory import machine
machine.describe(), machine.environment(), machine.memory(), machine.free_memory()
machine.pick_device("cpu"), machine.pick_precision(None, None, False)
assert not {"torch", "transformers", "psutil"} & set(sys.modules), "something heavy"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
