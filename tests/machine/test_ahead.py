"""Memory made ready beside other work: it is there when it is asked for, and nothing that lies there is lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llama_factory.machine import ahead

SIZE = 256 << 20

TOUCH = """
import json, resource
from llama_factory import machine
machine.keep_memory()
thread = machine.make_ready(SIZE) if READY else None
kept = bytearray(b"seven") * 1000  # what is written meanwhile stays
if thread:
    thread.join()
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
address = libc.malloc(SIZE // 2)
ctypes.memset(address, 1, SIZE // 2)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps({"faults": faults, "began": bool(thread), "kept": kept == bytearray(b"seven") * 1000}))
"""


def touched(*, ready: bool):
    code = TOUCH.replace("SIZE", str(SIZE)).replace("READY", str(ready))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a request to Linux")
def test_what_was_made_ready_is_not_waited_for():
    plain, ready = touched(ready=False), touched(ready=True)
    if not ready["began"]:
        pytest.skip("too little memory is free here")
    assert ready["kept"]
    assert plain["faults"] > 10_000
    assert ready["faults"] < plain["faults"] / 4


@pytest.mark.parametrize("size", [0, -1, 501])
def test_nothing_and_more_than_half_of_what_is_free_are_left_alone(monkeypatch, size):
    monkeypatch.setattr(ahead, "free_memory", lambda: 1000)
    assert ahead.make_ready(size) is None


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ahead.make_ready(SIZE) is None
