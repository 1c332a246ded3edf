"""What the tests of the command line stand on: the real program in a pipe or under a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what these tests share: data_commands

PROGRAM = (sys.executable, "-m", "llama_factory")
FORGET = ("LC_ALL", "LC_MESSAGES", "LANG", "LLAMA_FACTORY_LANG", "NO_COLOR", "NNODES", "FORCE_TORCHRUN", "WORLD_SIZE",
          "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")  # fmt: skip


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what changes the program's words, plus what the test says."""
    kept = {name: value for name, value in os.environ.items() if name not in FORGET}
    return {**kept, "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "TERM": "xterm-256color", **extra}


Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def lmf(tmp_path: Path) -> Runner:
    """`lmf("help", stdin="", LANG="zh_CN")`: the program in an empty folder, its streams pipes."""

    def run(
        *words: str, stdin: str | bytes = "", cwd: Path = tmp_path, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*PROGRAM, *words],
            input=raw,
            capture_output=True,
            cwd=cwd,
            env=environment(extra),
            timeout=120,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@dataclass
class Terminal:
    """A process under a pseudo-terminal: what it showed so far, and keys to press."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""
    _raw: bytes = field(default=b"", repr=False)

    def wait_for(self, text: str, *, after: int = 0, timeout_s: float = 60) -> int:
        """Read until `text` stands after position `after`; the position behind it."""
        end = time.monotonic() + timeout_s
        while text not in self.shown[after:]:
            assert time.monotonic() < end, f"waited for {text!r}, saw {self.shown[after:]!r}"
            if not self._read(0.2) and self.process.poll() is not None and text not in self.shown[after:]:
                raise AssertionError(f"ended with {self.process.returncode} before {text!r}: {self.shown[after:]!r}")
        return self.shown.index(text, after) + len(text)

    def press(self, keys: str) -> None:
        """As a person does, a moment after reading: a Ctrl-C between the prompt and the first wait for a key
        is only noticed by readline with the next key."""
        time.sleep(0.15)
        os.write(self.master, keys.encode())

    def end(self, timeout_s: float = 60) -> int:
        """Read the rest; the exit code."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None or self._read(0):
            assert time.monotonic() < end, f"did not end, saw {self.shown!r}"
            self._read(0.1)
        return self.process.returncode

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self.master], [], [], timeout_s)[0]:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # Linux says so when the other end is gone
            return False
        self._raw += piece
        self.shown = self._raw.decode("utf-8", "replace")
        return bool(piece)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """`terminal("chat", ..., columns=80)`: the program as a person sees it. `command=` runs another one."""
    started: list[Terminal] = []

    def start(*words: str, columns: int = 80, command: tuple[str, ...] = PROGRAM, **extra: str) -> Terminal:
        import fcntl
        import struct
        import termios

        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {name: value for name, value in environment(extra).items() if name not in ("COLUMNS", "LINES")}
        process = subprocess.Popen(
            [*command, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=tmp_path,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        started.append(Terminal(process, master))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        os.close(one.master)
