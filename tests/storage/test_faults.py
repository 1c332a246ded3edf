"""Real kills, real full disks, and a model of power loss. The campaigns are scripts beside this file.

`LLAMA_FACTORY_KILLS` sets the number of random kills, `LLAMA_FACTORY_POWER_STATES` the number of
disk states tried at every moment of the power-loss model.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llama_factory import storage
from llama_factory.errors import MachineError

CAMPAIGNS = Path(__file__).parent / "campaigns"
KILLS = int(os.environ.get("LLAMA_FACTORY_KILLS", "60"))
POWER_STATES = int(os.environ.get("LLAMA_FACTORY_POWER_STATES", "6"))

pytestmark = pytest.mark.faults


def campaign(name: str, folder: Path, *words: object) -> dict:
    """Without fsync's cost where there is memory: neither a kill nor the model asks what the disk really has."""
    fast = Path("/dev/shm") / folder.name
    root = fast if os.access(fast.parent, os.W_OK) else folder
    root.mkdir(exist_ok=True)
    try:
        command = [sys.executable, str(CAMPAIGNS / name), str(root), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)
    finally:
        if root != folder:
            shutil.rmtree(root)


def test_random_kills_leave_a_whole_checkpoint_each_time(tmp_path: Path) -> None:
    found = campaign("random_kills.py", tmp_path, KILLS, 1)
    assert found["kills"] == KILLS
    assert found["steps"] >= KILLS // 4
    assert found["with litter"] > 0, "no kill met the writer at work"


def test_a_kill_or_a_disk_error_at_every_single_operation_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    found = campaign("every_operation.py", tmp_path)
    assert len(found) == 8
    for numbers in found.values():
        assert numbers["kills"] == numbers["operations"] > 10
        assert numbers["errors"] == 4 * numbers["operations"]


def test_no_power_loss_that_the_file_system_allows_loses_what_was_promised(tmp_path: Path) -> None:
    found = campaign("power_loss.py", tmp_path, POWER_STATES, 1)
    assert found["points"] > 150
    assert found["states"] > 100 * POWER_STATES
    assert found["faults"] == 0


def test_the_model_of_power_loss_sees_a_writer_that_never_syncs(tmp_path: Path) -> None:
    assert campaign("power_loss.py", tmp_path, POWER_STATES, 1, "blind")["faults"] > 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """2 MB that are really full when they are full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a disk: " + mounted.stderr.decode().strip())
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def block(size: int):
    return lambda folder: (folder / "weights.bin").write_bytes(os.urandom(size)) and None


def until_it_fails(act: Callable[[], object]) -> None:
    while True:
        act()


def test_a_disk_that_fills_up_while_saving_keeps_what_was_there(small_disk: Path) -> None:
    storage.write_directory(small_disk / "checkpoint-1", block(1_300_000))
    storage.publish_files(small_disk, block(1000))
    for attempt in (
        lambda: storage.write_directory(small_disk / "checkpoint-2", block(1_300_000)),
        lambda: storage.write_directory(small_disk / "checkpoint-1", block(1_300_000), replace=True),
        lambda: storage.publish_files(small_disk, block(1_300_000)),
        lambda: storage.write_file(small_disk / "MANIFEST.json", os.urandom(1_300_000)),
    ):
        with pytest.raises(MachineError) as caught:
            attempt()
        assert caught.value.id == "storage.full"
        assert " free)" in str(caught.value)
        assert sorted(path.name for path in small_disk.iterdir()) == ["MANIFEST.json", "checkpoint-1", "weights.bin"]
        storage.verify(small_disk / "checkpoint-1")
        storage.verify(small_disk)
    storage.remove_directory(small_disk / "checkpoint-1")
    storage.write_directory(small_disk / "checkpoint-2", block(1_300_000))


def test_a_line_that_no_longer_fits_leaves_the_log_as_it_was(small_disk: Path) -> None:
    storage.append_line(small_disk / "log.jsonl", "x" * 1_000_000)
    with pytest.raises(MachineError) as caught:
        storage.append_line(small_disk / "log.jsonl", "y" * 1_500_000)
    assert caught.value.id == "storage.full"
    assert (small_disk / "log.jsonl").read_text() == "x" * 1_000_000 + "\n"


def test_a_completely_full_disk_can_still_be_cleared(small_disk: Path) -> None:
    storage.write_directory(small_disk / "checkpoint-1", block(100_000))
    with (small_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        until_it_fails(lambda: file.write(bytes(4096)))
    storage.remove_directory(small_disk / "checkpoint-1")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_safetensors_on_a_full_disk_is_a_letter_too(small_disk: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    with pytest.raises(MachineError) as caught:
        storage.write_directory(
            small_disk / "made", lambda folder: save_file({"w": np.ones(1_000_000)}, folder / "w.safetensors")
        )
    assert caught.value.id == "storage.full"
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_became_read_only_is_a_letter_and_loses_nothing(small_disk: Path) -> None:
    storage.write_directory(small_disk / "checkpoint-1", block(1000))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for attempt in (
        lambda: storage.write_directory(small_disk / "checkpoint-2", block(1000)),
        lambda: storage.write_file(small_disk / "x", "1"),
        lambda: storage.append_line(small_disk / "y", "1"),
        lambda: storage.remove_directory(small_disk / "checkpoint-1"),
        lambda: storage.Lock(small_disk).__enter__(),
    ):
        with pytest.raises(MachineError) as caught:
            attempt()
        assert caught.value.id == "storage.refused"
    storage.verify(small_disk / "checkpoint-1")


def test_a_limit_on_the_size_of_files_is_a_letter_and_loses_nothing(tmp_path: Path) -> None:
    storage.write_directory(tmp_path / "made", block(1000))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        for attempt in (
            lambda: storage.write_directory(tmp_path / "made", block(200_000), replace=True),
            lambda: storage.publish_files(tmp_path / "made", block(200_000)),
            lambda: storage.write_file(tmp_path / "made" / "weights.bin", os.urandom(200_000)),
            lambda: storage.append_line(tmp_path / "log", "x" * 200_000),
        ):
            with pytest.raises(MachineError) as caught:
                attempt()
            assert caught.value.id == "storage.too-large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert (tmp_path / "log").read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "made"]
    storage.verify(tmp_path / "made")


def test_too_many_open_files_is_a_letter(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, old[1]))
    try:
        with pytest.raises(OSError, match="Too many"):
            until_it_fails(lambda: held.append(os.open("/dev/null", os.O_RDONLY)))
        with pytest.raises(MachineError) as caught:
            storage.write_file(tmp_path / "x", "1")
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
    assert caught.value.id == "storage.too-many-open"
    storage.sweep(tmp_path)
    storage.write_file(tmp_path / "x", "1")
