"""Which process a lock or a hidden folder belongs to, and whether it still lives.

In: nothing but the running process. Out: an `Owner` that fits into a file name, and a judgement.
A pid alone says little: it is used again after a restart, and means another process in another
container. So an owner is pid and start time inside one pid namespace of one boot of one host.
Deliberately never ends a process, and answers "unknown" rather than guess.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

_PATTERN = re.compile(r"(\d+)\.(\d+)\.([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Owner:
    """pid, start in clock ticks since the boot, and short hashes of pid namespace, boot and host name."""

    pid: int
    start: int
    namespace: str
    boot: str
    host: str

    def __str__(self) -> str:
        return f"{self.pid}.{self.start}.{self.namespace}.{self.boot}.{self.host}"


def myself() -> Owner:
    pid = os.getpid()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    boot = _read("/proc/sys/kernel/random/boot_id")
    return Owner(pid, _start(pid) or 0, _short(namespace), _short(boot), _short(platform.node()))


def parse(text: str) -> Owner | None:
    found = _PATTERN.fullmatch(text)
    return Owner(int(found[1]), int(found[2]), found[3], found[4], found[5]) if found else None


def lives(owner: Owner) -> bool | None:
    """None: the process table that knows it cannot be seen from here."""
    me = myself()
    if owner.host == me.host and owner.boot != me.boot:
        return False
    if (owner.host, owner.namespace) != (me.host, me.namespace):
        return None
    if Path("/proc/self/stat").exists():
        return _start(owner.pid) == owner.start
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> int | None:
    """Start time of a process; None when there is none, or when it is dead and only not yet collected."""
    text = _read(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
