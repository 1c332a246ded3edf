"""What the benchmarks share that run beside another program: its environment, and what the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PEER_TORCH = ("torch==2.9.1", "torchvision==0.24.1", "torchaudio==2.9.1")
PEER = ("llamafactory==0.9.5",)
PEER_VENV = Path.home() / ".cache" / "llama-factory-dev" / "peer-0.9.5"


def peer_environment(folder: Path) -> Path:
    """The peer's own interpreter; made once, which takes a few minutes and some gigabytes."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"making a virtual environment for the peer in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for wanted in (PEER_TORCH, PEER):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        (folder / "complete").touch()
    return python


def machine() -> dict[str, Any]:
    """What the figures were measured on; no name of the host."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    load = os.getloadavg()[0]
    return {"cpu": cpu, "processors": os.cpu_count(), "memory_gb": int(memory) / 1e6, "load_at_the_end": load}
