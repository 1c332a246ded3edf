"""A process that imports torch once and forks a tiny run, which saves after every step, for each line it reads.

In, on stdin: one JSON object a line (folder, acknowledged, max_steps). Out, on stdout: the pid of the run, and
when it is gone its wait status. `acknowledged` is a file: the run appends the step to it after each save.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer step of a process imports, seconds long
from trainer_toys import ToyPolicy, objective, toy_checkpoints, toy_plan, toy_source

from llama_factory.trainer import fit
from llama_factory.trainer.observers import Quiet


class Acknowledge(Quiet):
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def saved(self, step: int, folder: Path) -> None:
        os.write(self._file, f"{step}\n".encode())


def run(folder: Path, acknowledged: Path, max_steps: int) -> None:
    fit(
        ToyPolicy(dropout=0.2),
        toy_source(),
        objective,
        toy_plan(max_steps=max_steps, lr_scheduler_type="constant"),
        observers=[Acknowledge(acknowledged)],
        checkpoints=toy_checkpoints(folder, limit=2),
    )


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(Path(order["folder"]), Path(order["acknowledged"]), order["max_steps"])
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
