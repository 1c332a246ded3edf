"""Of trainings that were planned and measured: what the constants of the planner would have to be for them.

In: the cases of `plan_calibration.py`, each with what was measured and what its plan is made of. Out: lines that say,
for each constant alone and for all together, the value of least error and how far off the worst case is with it.
Nothing is written: constants are set by a person, who knows what they mean.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llama_factory.planner import memory, speed
from llama_factory.planner.setup import HALF, SINGLE

Case = Mapping[str, Any]


def memory_constants(found: Sequence[Case]) -> None:
    """What the constants of `planner/memory.py` would be, each alone free and all together, by least squares."""
    now = {
        HALF: {"HOLES[HALF]": memory.HOLES[HALF], "PLACES": memory.PLACES, "REMADE": memory.REMADE},
        SINGLE: {"HOLES[SINGLE]": memory.HOLES[SINGLE]},
    }
    for number, names in now.items():
        some = [one for one in found if one["number"] == number]
        if len(some) <= len(names):
            continue
        columns = [[one[it] for it in ("passing", "widest", "sums")[: len(names)]] for one in some]
        advise(names, columns, [one["between"] for one in some], [one["memory_measured"] for one in some])


def time_constants(found: Sequence[Case]) -> None:
    """The same of `planner/speed.py`, by the rates of each case, and by one set of rates for all: what differs between
    the two is the probe's."""
    timed = [one for one in found if "rates" in one]
    if not timed:
        print("time: the raw figures have no rates; they are from before these were kept")
        return
    for number in (HALF, SINGLE):
        some = [one for one in timed if one["number"] == number]
        if len(some) <= 3:
            continue
        for key in ("products", "head", "bytes"):
            each = [one["rates"][key] for one in some]
            print(f"{number} bytes: {key} by the probe {min(each) / 1e9:.0f} to {max(each) / 1e9:.0f} G/s,"
                  f" median {statistics.median(each) / 1e9:.0f}")  # fmt: skip
        same = {key: statistics.median(one["rates"][key] for one in some) for key in some[0]["rates"]}
        for rates, said in (
            ([one["rates"] for one in some], "each case's own rates"),
            ([same] * len(some), "one set of rates for all"),
        ):
            print(said)
            _solve(some, rates, number)
    timed = [one for one in timed if "step_seconds" in one]
    if not timed:
        return
    firsts = [one["step_seconds"][0] / statistics.mean(one["step_seconds"][1:]) for one in timed]
    print(f"the first step takes {min(firsts):.2f} to {max(firsts):.2f} times the others")


def _solve(cases: Sequence[Case], rates: Sequence[Mapping[str, float]], number: int) -> None:
    names = {"1 / REACHED": 1 / speed.REACHED, "PASSES": speed.PASSES}
    names |= {"KERNEL_S": speed.KERNEL_S} if number == HALF else {}
    columns, rest = [], []
    for one, rate in zip(cases, rates, strict=True):
        work = one["work"]
        products = work["products"] / rate["products"] + work["head"] / rate["head"]
        columns.append([products, work["moved"] / speed.PASSES / rate["bytes"], work["kernels"]][: len(names)])
        rest.append(one["seconds_measured"] - work["rest"] / rate["bytes"])
    advise(names, columns, rest, [one["seconds_measured"] for one in cases])


def advise(names: Mapping[str, float], columns: list[list[float]], target: list[float], whole: list[float]) -> None:
    """target = columns @ constants, as near as can be, errors as shares of `whole`."""
    matrix, goal, share = np.array(columns), np.array(target), 1 / np.array(whole)
    for free in [*([name] for name in names), *([list(names)] if 1 < len(names) < len(goal) else [])]:
        values = dict(names)
        at = [list(names).index(name) for name in free]
        rest = goal - sum(matrix[:, i] * value for i, (name, value) in enumerate(names.items()) if name not in free)
        solved = np.linalg.lstsq(matrix[:, at] * share[:, None], rest * share, rcond=None)[0]
        values |= dict(zip(free, solved.tolist(), strict=True))
        errors = (matrix @ np.array(list(values.values())) - goal) * share
        said = ", ".join(f"{name} {values[name]:.3g} (now {names[name]:.3g})" for name in free)
        worst = max(errors, key=abs)
        print(f"measured {'together' if len(free) > 1 else 'alone':8} {said}: worst {worst:+.1%}")
