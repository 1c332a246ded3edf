"""This computer: what it is, what it computes in, how torch uses it best.

In: the kernel's files, the configuration's switches, sources to compile. Out: values (`Machine`, `Precision`,
`Memory`, `Usage`, a device name) and a process made ready for torch.
Deliberately decides no method, and loads torch only where it is asked about torch.
"""

from __future__ import annotations

from llama_factory.machine.ahead import make_ready
from llama_factory.machine.choose import Precision, pick_device, pick_precision
from llama_factory.machine.compiler import CannotCompile, compiles, load_compiled, make_compiled
from llama_factory.machine.environment import environment
from llama_factory.machine.facts import Machine, Memory, describe, free_memory, memory
from llama_factory.machine.probe import copy_rate, product_rate
from llama_factory.machine.shortage import first_line, is_out_of_memory
from llama_factory.machine.tuning import hush, keep_memory, set_aside, set_files_aside, torch_setup
from llama_factory.machine.usage import Gauge, Usage

__all__ = [
    "CannotCompile",
    "Gauge",
    "Machine",
    "Memory",
    "Precision",
    "Usage",
    "compiles",
    "copy_rate",
    "describe",
    "environment",
    "first_line",
    "free_memory",
    "hush",
    "is_out_of_memory",
    "keep_memory",
    "load_compiled",
    "make_compiled",
    "make_ready",
    "memory",
    "pick_device",
    "pick_precision",
    "product_rate",
    "set_aside",
    "set_files_aside",
    "torch_setup",
]
