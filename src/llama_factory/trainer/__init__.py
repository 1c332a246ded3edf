"""The training room: one loop, its optimizer and schedules, checkpoints, and those who listen.

In: a policy, a source of steps, an objective, a plan. Out: a trained policy, checkpoints, figures.
It receives values and never imports `data`, `render`, `losses` or `generation`.
"""

from __future__ import annotations

from llama_factory.trainer.checkpoints import Checkpoints
from llama_factory.trainer.evaluation import mean_loss, mean_losses, with_perplexity
from llama_factory.trainer.fit import FitResult, fit
from llama_factory.trainer.plan import FitPlan
from llama_factory.trainer.ports import (
    Evaluate,
    Evaluation,
    Objective,
    Observer,
    PolicyLike,
    Progress,
    SaveModel,
    Source,
    Start,
    TermLike,
)

__all__ = [
    "Checkpoints",
    "Evaluate",
    "Evaluation",
    "FitPlan",
    "FitResult",
    "Objective",
    "Observer",
    "PolicyLike",
    "Progress",
    "SaveModel",
    "Source",
    "Start",
    "TermLike",
    "fit",
    "mean_loss",
    "mean_losses",
    "with_perplexity",
]
