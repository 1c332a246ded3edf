"""C++ compiled for this very processor, once, and loaded into this process.

In: source files, the folder that keeps what was compiled, processor features that the code is written for. Out: the
loaded library, its threads those of torch; or `CannotCompile` with the reason, in a word that has a letter.
What was compiled is found again by the sources, the compiler and the processor, so another machine that shares the
folder makes its own. Deliberately knows nothing of what the code does, and fails no run: whoever asks has another way.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llama_factory.machine.facts import describe

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O2", "-march=native", "-fopenmp", "-fPIC", "-fno-math-errno", "-w")
PATIENCE = 120.0
"""Seconds that a call of the compiler has; it needs two or three."""


class CannotCompile(Exception):
    """why: `system`, `processor`, `compiler`, `failed`, `threads` or `folder`; found: what was found there."""

    def __init__(self, why: str, found: str = "") -> None:
        super().__init__(f"{why}: {found}")
        self.why, self.found = why, found


def compiles(needs: frozenset[str]) -> bool:
    """Whether `make_compiled` would have what it takes: the system, the processor, a compiler."""
    return sys.platform.startswith("linux") and not needs - describe().flags and _compiler() is not None


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, [os.environ.get("CXX") or "", *COMPILERS])), None)


def load_compiled(sources: Sequence[Path], folder: Path, needs: frozenset[str]) -> ctypes.CDLL:
    """The library that `make_compiled` makes, on torch's own threads. Raises CannotCompile.

    A file that a lost power left broken is made anew.
    """
    library = make_compiled(sources, folder, needs)
    _share_threads()
    try:
        if (loaded := _load(library)) is None:
            library.unlink()
            loaded = ctypes.CDLL(str(make_compiled(sources, folder, needs)))
    except OSError as error:
        raise CannotCompile("failed", str(error).splitlines()[0]) from error
    return loaded


def make_compiled(sources: Sequence[Path], folder: Path, needs: frozenset[str]) -> Path:
    """The file of the library of these .cpp files, headers beside them; made where it is not there yet.

    needs: features of the processor. Loads nothing, torch neither. Raises CannotCompile.
    """
    machine = describe()
    if not sys.platform.startswith("linux"):
        raise CannotCompile("system", sys.platform)
    if missing := needs - machine.flags:
        raise CannotCompile("processor", ", ".join(sorted(missing)))
    compiler = _compiler()
    if compiler is None:
        raise CannotCompile("compiler", ", ".join(COMPILERS))
    try:
        library = folder / f"{_key(sources, compiler, machine.cpu, machine.flags)}.so"
        if not library.exists():
            _make(sources, compiler, library)
    except subprocess.TimeoutExpired as error:
        raise CannotCompile("failed", str(error).splitlines()[0]) from error
    except OSError as error:
        raise CannotCompile("folder", str(error)) from error
    return library


def _load(library: Path) -> ctypes.CDLL | None:
    """None for a file that a full disk or a lost power left broken."""
    try:
        return ctypes.CDLL(str(library))
    except OSError:
        return None


def _key(sources: Sequence[Path], compiler: str, cpu: str, flags: frozenset[str]) -> str:
    facts = os.stat(os.path.realpath(compiler))
    sure = hashlib.sha256(repr((FLAGS, compiler, facts.st_size, facts.st_mtime_ns, cpu, sorted(flags))).encode())
    for source in sources:
        sure.update(source.read_bytes())
    return sure.hexdigest()[:32]


def _make(sources: Sequence[Path], compiler: str, library: Path) -> None:
    """Beside its place first, so that nobody ever loads half of it.

    Compiled and linked apart: what is linked for OpenMP would bring threads of its own.
    """
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        files = [str(source) for source in sources if source.suffix == ".cpp"]
        _run([compiler, *FLAGS, "-c", *files], work)
        _run([compiler, "-shared", *(f"{Path(file).stem}.o" for file in files), "-o", "made.so"], work)
        Path(work, "made.so").replace(library)


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(  # noqa: S603  the compiler that this system has, on our own files
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        raise CannotCompile("failed", (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0])


def _share_threads() -> None:
    """Let what is loaded from now on find the OpenMP that torch has loaded: two of them would wait for each other."""
    import torch  # noqa: F401  loads it

    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise CannotCompile("threads", str(error)) from error
    paths = dict.fromkeys(line.split(maxsplit=5)[5] for line in lines if line.count("/"))
    found = [path for path in paths if Path(path).name.startswith(("libgomp", "libiomp5", "libomp"))]
    if len(found) != 1:
        raise CannotCompile("threads", ", ".join(found) or "-")
    ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)
