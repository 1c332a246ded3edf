"""Launchers that start several processes: found by what they put into the environment.

In: the environment. Out: nothing, or a letter. Training in several processes is not built, and each of them alone would
train another model than the one that was asked for, on the same rows, without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_factory.errors import InputError

COUNTS = ("NNODES", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""How many processes, or machines, as torchrun and DeepSpeed, Open MPI, other MPIs and Slurm's srun say it."""
ASKS = "FORCE_TORCHRUN"
YES = ("1", "true", "y", "yes", "on")


def refuse_many(environ: Mapping[str, str]) -> None:
    for variable in COUNTS:
        found = environ.get(variable, "").strip()
        if found not in ("", "0", "1"):
            raise InputError("machine.many-processes", variable=variable, found=found)
    found = environ.get(ASKS, "").strip()
    if found.lower() in YES:
        raise InputError("machine.many-processes", variable=ASKS, found=found)
