"""What is known of every schedule of the learning rate: its settings and what it needs.

One table, read by the rules of the configuration; `trainer.schedule` has a formula for each name. Names, settings and
defaults are those of transformers' `get_scheduler`.
What it deliberately does not do: compute a rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_factory.config.pairs import Value

Kwargs = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """kwargs: what `lr_scheduler_kwargs` may set, with the defaults. needs: of these, what must be set (one of each).

    words: of a setting that is a word, the words. whole: settings that are whole numbers. warms_up: whether it knows a
    warm-up. listens: whether it follows the evaluations. decays: whether the rate falls by itself.
    """

    kwargs: Kwargs = field(default_factory=dict)
    needs: tuple[tuple[str, ...], ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    warms_up: bool = True
    listens: bool = False
    decays: bool = True


_CURVES = ("linear", "cosine", "1-sqrt")
_LOWEST = ("min_lr", "min_lr_rate")

SCHEDULES: Mapping[str, Shape] = {
    "linear": Shape(),
    "cosine": Shape(kwargs={"num_cycles": 0.5}),
    "constant": Shape(warms_up=False, decays=False),
    "constant_with_warmup": Shape(decays=False),
    "cosine_with_restarts": Shape(kwargs={"num_cycles": 1}, whole=frozenset({"num_cycles"})),
    "cosine_with_min_lr": Shape(
        kwargs={"num_cycles": 0.5, "min_lr": None, "min_lr_rate": None}, needs=(_LOWEST,),
    ),
    "cosine_warmup_with_min_lr": Shape(
        kwargs={"num_cycles": 0.5, "min_lr": None, "min_lr_rate": None, "warmup_lr_rate": None}, needs=(_LOWEST,),
    ),
    "polynomial": Shape(kwargs={"lr_end": 1e-7, "power": 1.0}),
    "inverse_sqrt": Shape(kwargs={"timescale": None}, whole=frozenset({"timescale"})),
    "warmup_stable_decay": Shape(
        kwargs={
            "num_decay_steps": None, "num_stable_steps": None, "warmup_type": "linear", "decay_type": "cosine",
            "min_lr_ratio": 0.0, "num_cycles": 0.5,
        },
        needs=(("num_decay_steps",),),
        words={"warmup_type": _CURVES, "decay_type": _CURVES},
        whole=frozenset({"num_decay_steps", "num_stable_steps"}),
    ),
    "reduce_lr_on_plateau": Shape(
        kwargs={
            "mode": "min", "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel", "cooldown": 0,
            "min_lr": 0.0, "eps": 1e-8,
        },
        words={"mode": ("min",), "threshold_mode": ("rel", "abs")},
        whole=frozenset({"patience", "cooldown"}),
        warms_up=False, listens=True,
    ),
    "greedy": Shape(
        kwargs={
            "mode": "min", "factor": 0.95, "patience": 10, "threshold": 1e-6, "threshold_mode": "abs", "cooldown": 0,
            "warmup": 0, "min_lr": 1e-3, "max_lr": 1.0, "eps": 1e-8, "smooth": False, "window_size": 50,
            "reset_start": 500,
        },
        words={"mode": ("min",), "threshold_mode": ("rel", "abs")},
        whole=frozenset({"patience", "cooldown", "warmup", "window_size", "reset_start"}),
        warms_up=False, listens=True,
    ),
}  # fmt: skip
