"""Rules about what moves the weights: the optimizer, its switches, its settings, and the schedule of its rate.

In: a run whose keys were each read. Out: what `rules` gathers. Deliberately not here: whether a package is installed
(the machine's), whether a rank fits a matrix (the model's).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from llama_factory.config.optimizers import KINDS, RESTING
from llama_factory.config.pairs import Value
from llama_factory.config.said import Said, changed, unused
from llama_factory.config.schedules import Shape
from llama_factory.config.sections.optimizer import PLAIN

if TYPE_CHECKING:
    from llama_factory.config.run import Run
    from llama_factory.config.sections.optimizer import Optimizer


BASES: Mapping[str, frozenset[str]] = {
    "use_galore": PLAIN | {"adafactor", "galore_adamw", "galore_adafactor"},
    "use_apollo": PLAIN | {"apollo_adamw"},
    "use_badam": PLAIN,
    "use_adam_mini": PLAIN | {"adam_mini"},
    "use_muon": PLAIN | {"muon"},
}
"""What may stand after `optim:` beside each switch."""

READ_BY: Mapping[str, tuple[str, ...]] = {
    "galore": ("galore_target", "galore_rank", "galore_update_interval", "galore_scale", "galore_proj_type"),
    "apollo": (
        "apollo_target", "apollo_rank", "apollo_update_interval", "apollo_scale", "apollo_proj", "apollo_proj_type",
        "apollo_scale_type", "apollo_scale_front",
    ),
    "badam": ("badam_mode", "badam_switch_interval"),
    "badam_layer": ("badam_start_block", "badam_switch_mode", "badam_verbose"),
    "badam_ratio": ("badam_update_ratio", "badam_mask_mode"),
}  # fmt: skip
"""Keys that nothing reads unless the kind of optimizer begins so."""

OF_ARGS: Mapping[str, str] = {"rank": "rank", "update_proj_gap": "update_interval", "scale": "scale"}
"""Names of `optim_args` that GaLore and APOLLO have keys for: `rank` is `galore_rank`."""


def one_optimizer(run: Run) -> Iterator[Said]:
    """One name, one switch at most, and both must mean the same."""
    optimizer = run.training.optimizer
    for key in ("galore_layerwise", "apollo_layerwise"):
        if run.value(key):
            yield Said("config.optimizer-in-backward", (key,), {"found": key})
    chosen = [key for key, wanted in optimizer.switches.items() if wanted]
    if len(chosen) > 1:
        yield Said("config.two-optimizers", tuple(chosen), {"first": chosen[0], "second": chosen[1]})
    elif chosen and optimizer.optim not in BASES[chosen[0]]:
        values = {"key": chosen[0], "found": optimizer.optim, "known": ", ".join(sorted(BASES[chosen[0]]))}
        yield Said("config.optimizer-beside", ("optim", chosen[0]), values)


def optimizer_fits(run: Run) -> Iterator[Said]:
    """What an optimizer cannot train, and what it does not read."""
    optimizer, method = run.training.optimizer, run.method
    kind, facts = optimizer.kind, optimizer.facts
    about = (next((key for key, wanted in optimizer.switches.items() if wanted), "optim"), "finetuning_type")
    if method.adapts and (facts.projects or kind == "adam_mini" or kind.startswith("badam")):
        values = {"found": kind, "method": str(method.finetuning_type)}
        yield Said("config.optimizer-on-adapters", about, values)
    if method.adapts and kind == "muon":
        values = {"method": str(method.finetuning_type)}
        yield Said("config.muon-on-adapters", about, values, severity="warning")
    if facts.averages and optimizer.adam_beta1 == 0:
        yield Said("config.averaged-without-beta", ("optim", "adam_beta1"), {"found": optimizer.optim})
    if facts.averages and run.training.schedule.shape.decays:
        values = {"found": optimizer.optim, "schedule": run.training.schedule.lr_scheduler_type}
        yield Said("config.schedule-free", ("optim", "lr_scheduler_type"), values)
    yield from _args(optimizer)
    yield from _unread(run, optimizer)
    badam = optimizer.badam
    if kind == "badam_layer" and badam.badam_switch_mode == "fixed" and badam.badam_start_block is None:
        yield Said("config.badam-fixed-where", ("badam_switch_mode", "badam_start_block"), {})
    if kind == "badam_layer" and badam.badam_switch_mode == "random" and badam.badam_start_block is not None:
        yield unused("badam_start_block", "badam_switch_mode", "random")
    if kind == "badam_ratio" and optimizer.weight_decay:  # the package has none for a share of a matrix
        yield unused("weight_decay", "badam_mode", "ratio")
    extra = method.freeze.freeze_extra_modules if method.finetuning_type == "freeze" else ()
    if extra and (kind == "badam_layer" or (kind == "badam_ratio" and any(map(RESTING.search, extra)))):
        yield unused("freeze_extra_modules", "optim", kind)


def _args(optimizer: Optimizer) -> Iterator[Said]:
    known = optimizer.facts.args
    for name, value in optimizer.args.items():
        if name not in known:
            values = {"key": "optim_args", "found": name, "of": optimizer.kind, "known": ", ".join(known) or "-"}
            yield Said("config.no-such-setting", ("optim_args", "optim"), values)
        elif not _is(value, known[name]):
            values = {"key": "optim_args", "name": name, "found": str(value), "expected": KINDS[known[name]]}
            yield Said("config.wrong-setting", ("optim_args",), values)


def _is(value: Value, kind: str) -> bool:
    if kind == "flag" or isinstance(value, bool):
        return kind == "flag" and isinstance(value, bool)
    if not isinstance(value, int if kind == "whole" else (int, float)):
        return False
    return value >= 1 if kind == "whole" else value > 0 if kind == "positive" else True


def _unread(run: Run, optimizer: Optimizer) -> Iterator[Said]:
    kind = optimizer.kind
    if optimizer.optim_target_modules:
        if not optimizer.facts.projects:
            yield unused("optim_target_modules", "optim", optimizer.optim)
        other = "apollo_target" if kind == "apollo_adamw" else "galore_target"
        if optimizer.facts.projects and changed(run, other):
            values = {"first": "optim_target_modules", "second": other}
            yield Said("config.two-optimizers", ("optim_target_modules", other), values)
    for key in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if key not in optimizer.facts.reads and changed(run, key):
            yield unused(key, "optim", kind)
    for reader, keys in READ_BY.items():
        other_mode = reader.startswith("badam_") and kind.startswith("badam_")
        by = ("badam_mode", optimizer.badam.badam_mode) if other_mode else ("optim", kind)
        yield from (unused(key, *by) for key in keys if not kind.startswith(reader) and changed(run, key))
    for name, ending in OF_ARGS.items():
        key = f"{kind.split('_')[0]}_{ending}"
        if optimizer.facts.projects and name in optimizer.args and changed(run, key):
            yield Said("config.two-optimizers", ("optim_args", key), {"first": f"optim_args: {name}", "second": key})


def schedule_fits(run: Run) -> Iterator[Said]:
    """Settings that the schedule knows, has, and can hear of."""
    schedule = run.training.schedule
    shape, name, kwargs = schedule.shape, schedule.lr_scheduler_type, schedule.kwargs
    about = ("lr_scheduler_kwargs", "lr_scheduler_type")
    for setting, value in kwargs.items():
        if setting not in shape.kwargs:
            values = {"key": about[0], "found": setting, "of": name, "known": ", ".join(shape.kwargs) or "-"}
            yield Said("config.no-such-setting", about, values)
        elif expected := _expected(shape, setting, value):
            values = {"key": about[0], "name": setting, "found": str(value), "expected": expected}
            yield Said("config.wrong-setting", about, values)
    for needed in shape.needs:
        if sum(kwargs.get(one) is not None for one in needed) != 1:
            yield Said("config.schedule-needs", about, {"found": name, "needed": " | ".join(needed)})
    if shape.listens and run.evaluation.eval_strategy == "no":
        yield Said("config.schedule-hears-nothing", (about[1], "eval_strategy"), {"found": name})
    yield from _limits(run, name, kwargs)


def _expected(shape: Shape, setting: str, value: Value) -> str:
    """What would have been right, nothing if it is."""
    if setting in shape.words:
        return "" if value in shape.words[setting] else " | ".join(shape.words[setting])
    if isinstance(shape.kwargs[setting], bool):
        return "" if isinstance(value, bool) else "true | false"
    if value is None and shape.kwargs[setting] is None:
        return ""
    whole = setting in shape.whole
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value < 0:
        return "int >= 0" if whole else "float >= 0"
    if (setting == "factor" and not 0 < value < 1) or (setting.endswith(("_rate", "_ratio")) and value > 1):
        return "float > 0, < 1" if setting == "factor" else "float >= 0, <= 1"
    return "int >= 1" if setting == "timescale" and value == 0 else ""


def _limits(run: Run, name: str, kwargs: Mapping[str, Value]) -> Iterator[Said]:
    """A floor that is not below the learning rate would turn a schedule into its opposite."""
    rate = run.training.optimizer.learning_rate
    for setting in ("lr_end", "min_lr"):
        floor = kwargs.get(setting, run.training.schedule.shape.kwargs.get(setting))
        if isinstance(floor, (int, float)) and not isinstance(floor, bool) and floor >= rate:
            about = ("lr_scheduler_kwargs", "lr_scheduler_type", "learning_rate")
            values = {"name": setting, "found": f"{floor:g}", "rate": f"{rate:g}", "schedule": name}
            yield Said("config.floor-above-rate", about, values)
