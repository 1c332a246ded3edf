"""The update: one optimizer over the masters, its table of makers, and its state as plain tensors and numbers.

In: master tensors by name. Out: an `Optimizer` whose state goes in and out as named tensors and JSON, so that a
checkpoint needs no pickle. It does not clip or schedule: it is told the learning rate of each step.
What is known of every optimizer without making one (package, memory, usual rates) stands in `config.optimizers`.
"""

from __future__ import annotations

from llama_factory.trainer.optimizers.groups import FACTOR, decayed
from llama_factory.trainer.optimizers.makers import MAKERS
from llama_factory.trainer.optimizers.optimizer import Optimizer

__all__ = ["FACTOR", "MAKERS", "Optimizer", "decayed"]
