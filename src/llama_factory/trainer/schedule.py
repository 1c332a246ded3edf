"""The learning rate of every step, equal to that of transformers' `get_scheduler`.

In: a schedule's name and settings, the peak, warm-up, the number of steps. Out: `Rates`: the rate of the next update.
Most schedules are formulas of the number of updates done and keep no state. Two follow the validation loss
(`reduce_lr_on_plateau`, torch's; `greedy`, transformers'): they are told every evaluation, and what they remember
goes into the checkpoint as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

from llama_factory.config.schedules import SCHEDULES as SHAPES

if TYPE_CHECKING:
    from llama_factory.trainer.plan import FitPlan

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class At:
    """Where a run stands: updates done, warm-up updates, updates in all; the settings and the peak of its schedule."""

    done: int
    warmup: int
    total: int
    settings: Settings = field(default_factory=dict)
    peak: float = 1.0

    @property
    def progress(self) -> float:
        """0 at the end of the warm-up, 1 after the last update."""
        return (self.done - self.warmup) / max(1, self.total - self.warmup)

    @property
    def lowest(self) -> float:
        """`min_lr_rate`, or the `min_lr` that was given as a share of the peak."""
        given = self.settings.get("min_lr")
        share = self.settings.get("min_lr_rate") if given is None else given / self.peak
        return float(share or 0.0)


Factor = Callable[[At], float]
"""Where the run stands -> factor of the next update's rate."""


def warm(at: At) -> float:
    """Linear rise: the first update has factor 0, update `warmup` has 1."""
    return at.done / max(1, at.warmup)


def constant(at: At) -> float:
    """1 throughout. Like its namesake in transformers it knows no warm-up."""
    return 1.0


def constant_with_warmup(at: At) -> float:
    return warm(at) if at.done < at.warmup else 1.0


def linear(at: At) -> float:
    """From 1 at the end of the warm-up to 0 after the last update."""
    if at.done < at.warmup:
        return warm(at)
    return max(0.0, (at.total - at.done) / max(1, at.total - at.warmup))


def cosine(at: At) -> float:
    """Waves of a cosine, by default half a one; Loshchilov & Hutter 2017 (arXiv 1608.03983), eq. 5, down to 0."""
    if at.done < at.warmup:
        return warm(at)
    return max(0.0, _wave(at.progress, at.settings.get("num_cycles", 0.5)))


def cosine_with_restarts(at: At) -> float:
    """The same paper with its warm restarts: `num_cycles` half waves, each from 1 to 0."""
    if at.done < at.warmup:
        return warm(at)
    if at.progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((at.settings.get("num_cycles", 1) * at.progress) % 1.0))))


def cosine_with_min_lr(at: At) -> float:
    """Half a cosine from 1 to the lowest factor."""
    if at.done < at.warmup:
        return warm(at)
    return _raised(_wave(at.progress, at.settings.get("num_cycles", 0.5)), at.lowest)


def cosine_warmup_with_min_lr(at: At) -> float:
    """The same, one update ahead, and with a warm-up that begins above 0: at `warmup_lr_rate` or 1 / warmup."""
    if at.done < at.warmup:
        start = at.settings.get("warmup_lr_rate")
        if start is None:
            return (at.done + 1.0) / max(1.0, at.warmup)
        return float(start) + (1.0 - float(start)) * at.done / max(1, at.warmup - 1)
    progress = (at.done - at.warmup + 1.0) / max(1.0, at.total - at.warmup)
    return _raised(_wave(progress, at.settings.get("num_cycles", 0.5)), at.lowest)


def polynomial(at: At) -> float:
    """From 1 to `lr_end` / peak as (1 - progress) ** `power`."""
    if at.done < at.warmup:
        return warm(at)
    end = at.settings.get("lr_end", 1e-7)
    if at.done > at.total:
        return float(end / at.peak)
    span = (1 - at.progress) ** at.settings.get("power", 1.0) if at.total > at.warmup else 1.0
    return float(((at.peak - end) * span + end) / at.peak)


def inverse_sqrt(at: At) -> float:
    """1 / sqrt(1 + updates since the warm-up / `timescale`); the timescale is the warm-up's length, or 10000."""
    if at.done < at.warmup:
        return warm(at)
    timescale = at.settings.get("timescale") or at.warmup or 10_000
    return 1.0 / math.sqrt((at.done + timescale - at.warmup) / timescale)


def warmup_stable_decay(at: At) -> float:
    """Hu et al. 2024 (arXiv 2404.06395), sec. 4: a rise, a plateau, and a fall in the last `num_decay_steps`."""
    settings = at.settings
    floor, decay = settings.get("min_lr_ratio", 0.0), settings["num_decay_steps"]
    stable = settings.get("num_stable_steps")
    stable = at.total - at.warmup - decay if stable is None else stable
    if at.done < at.warmup:
        rise = FALLS[settings.get("warmup_type", "linear")]
        return _raised(rise(1.0 - at.done / max(1, at.warmup), 0.5), floor)
    left = at.done - at.warmup - stable
    if left < 0:
        return 1.0
    if left >= decay:
        return float(floor)
    fall = FALLS[settings.get("decay_type", "cosine")]
    return _raised(fall(left / max(1, decay), settings.get("num_cycles", 0.5)), floor)


def _wave(progress: float, cycles: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress))


def _raised(factor: float, floor: float) -> float:
    """A factor between 0 and 1 into one between the floor and 1."""
    return max(0.0, factor * (1 - floor) + floor)


FALLS: Mapping[str, Callable[[float, float], float]] = {
    "linear": lambda progress, cycles: 1.0 - progress,
    "cosine": _wave,
    "1-sqrt": lambda progress, cycles: 1.0 - math.sqrt(progress),
}
"""From 1 at progress 0 to 0 at progress 1; a warm-up is the same, backwards."""

SCHEDULES: Mapping[str, Factor] = {
    "constant": constant,
    "constant_with_warmup": constant_with_warmup,
    "cosine": cosine,
    "cosine_warmup_with_min_lr": cosine_warmup_with_min_lr,
    "cosine_with_min_lr": cosine_with_min_lr,
    "cosine_with_restarts": cosine_with_restarts,
    "inverse_sqrt": inverse_sqrt,
    "linear": linear,
    "polynomial": polynomial,
    "warmup_stable_decay": warmup_stable_decay,
}


def warmup_updates(total: int, *, warmup_steps: int, warmup_ratio: float) -> int:
    """`warmup_steps` when it is given, else that share of the run, rounded up."""
    return warmup_steps if warmup_steps > 0 else math.ceil(total * warmup_ratio)


class Rates(Protocol):
    """The rates of one run. `state` is empty where the number of updates says all."""

    def rate(self, done: int) -> float: ...

    def evaluated(self, metrics: Mapping[str, float]) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


def rates_of(plan: FitPlan, total: int) -> Rates:
    shape = SHAPES[plan.lr_scheduler_type]
    return _Listening(plan) if shape.listens else _Counted(plan, total)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A formula of the number of updates made."""

    plan: FitPlan
    total: int

    def rate(self, done: int) -> float:
        return self.plan.rate(done, self.total)

    def evaluated(self, metrics: Mapping[str, float]) -> None: ...

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None: ...


class _Listening:
    """torch's ReduceLROnPlateau or transformers' GreedyLR over one rate. A checkpoint's rate wins over the plan's."""

    def __init__(self, plan: FitPlan) -> None:
        self._metric = plan.metric_for_best_model
        self._dial = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=plan.learning_rate)
        self._settings = {**SHAPES[plan.lr_scheduler_type].kwargs, **plan.lr_scheduler_kwargs}
        self._scheduler = _LISTENING[plan.lr_scheduler_type](self._dial, self._settings)

    def rate(self, done: int) -> float:
        return float(self._dial.param_groups[0]["lr"])

    def evaluated(self, metrics: Mapping[str, float]) -> None:
        self._scheduler.step(metrics[self._metric])

    def state(self) -> dict[str, Any]:
        """What it has seen, not how it was set; infinite values as text, which JSON can hold."""
        kept = {key: _plain(value) for key, value in self._scheduler.state_dict().items() if self._is_seen(key)}
        return {"lr": self.rate(0), **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            found = {key: _number(value) for key, value in state.items() if key != "lr"}
            self._scheduler.load_state_dict({**self._scheduler.state_dict(), **found})
            self._dial.param_groups[0]["lr"] = state["lr"]

    def _is_seen(self, key: str) -> bool:
        """`reset_start` is a setting of GreedyLR and its count-down too."""
        settings = {*self._settings, "min_lrs", "max_lrs", "mode_worse", "default_min_lr"}
        return key == "reset_start" or key not in settings


def _plateau(dial: torch.optim.Optimizer, settings: Settings) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(dial, **settings)


def _greedy(dial: torch.optim.Optimizer, settings: Settings) -> Any:
    from transformers.optimization import GreedyLR

    return GreedyLR(dial, **settings)


_LISTENING: Mapping[str, Callable[[torch.optim.Optimizer, Settings], Any]] = {
    "reduce_lr_on_plateau": _plateau,
    "greedy": _greedy,
}


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value
