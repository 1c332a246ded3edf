"""Small charts: numbers in, one inline SVG out, coloured by classes of the page that holds it.

A chart has axes with units, ticks at round numbers, and a hover title at every point that is shown. Of long curves
each point is the mean of as many as are needed to keep `POINTS` of them. It knows no run and no language.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llama_factory.runs.markup import Html, join, tag

WIDTH, HEIGHT = 460, 256
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 40
POINTS = 400
"""Of a drawn curve."""
HOVERS = 120
"""Of a curve that say their numbers when the mouse is over them."""
BARS = 28

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """points: by x. css: the class that colours it. faint: the raw figures behind a smoothed curve."""

    name: str
    points: Sequence[Point]
    css: str = "c1"
    faint: bool = False
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across a picture: with a word at its top in a histogram, shown under the mouse over a curve."""

    name: str
    at: float
    css: str = "c2"


@dataclass(frozen=True, slots=True)
class _Frame:
    """From numbers to places in the picture."""

    x0: float
    x1: float
    y0: float
    y1: float
    top: int = TOP

    def x(self, value: float) -> float:
        return round(LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - BOTTOM - self.top), 1)


def curves(
    title: str, drawn: Sequence[Curve], *, x_unit: str, y_unit: str, from_zero: bool = False,
    marks: Sequence[Mark] = (),
) -> Html:  # fmt: skip
    """One or several curves over the same steps, marks across them; nothing to draw gives an empty text."""
    shown = [(curve, thinned(finite(curve.points), POINTS)) for curve in drawn]
    shown = [(curve, points) for curve, points in shown if points]
    if not shown:
        return Html("")
    every = [point for _, points in shown for point in points]
    frame = _frame(every, from_zero=from_zero)
    parts = [*_axes(frame, x_unit, y_unit)]
    for mark in marks:
        if frame.x0 <= mark.at <= frame.x1:
            line = {"x1": frame.x(mark.at), "x2": frame.x(mark.at), "y1": TOP, "y2": HEIGHT - BOTTOM}
            parts.append(tag("line", tag("title", mark.name), cls=f"mark {mark.css}", **line))
    for curve, points in shown:
        place = [(frame.x(x), frame.y(y)) for x, y in points]
        style = f"line {curve.css}" + (" faint" if curve.faint else "")
        if len(place) > 1:
            parts.append(tag("path", d="M" + "L".join(f"{x:g} {y:g}" for x, y in place), cls=style))
        if len(place) == 1 or curve.dotted:
            parts += [tag("circle", cx=x, cy=y, r=3, cls=f"dot {curve.css}") for x, y in place]
    for curve, points in shown:
        if not curve.faint:
            parts += _hovers(frame, curve, points, x_unit, y_unit)
    return _svg(title, parts)


def histogram(
    title: str, values: Sequence[int] | NDArray[np.int64], marks: Iterable[Mark], *, x_unit: str, y_unit: str
) -> Html:
    """How many values lie in each of at most BARS equal spans of whole numbers."""
    found = np.asarray(values, dtype=np.int64)
    if not found.size:
        return Html("")
    marks = list(marks)
    low, high = int(found.min()), int(found.max())
    width = max(1, math.ceil((high - low + 1) / BARS))
    counts = np.bincount((found - low) // width).tolist()
    frame = _frame(
        [(low, 0.0), (low + width * len(counts), max(counts)), *((mark.at, 0.0) for mark in marks)],
        from_zero=True, top=TOP + 13 * len(marks),
    )  # fmt: skip
    parts = [*_axes(frame, x_unit, y_unit)]
    for number, count in enumerate(counts):
        first = low + number * width
        span = f"{first}" if width == 1 else f"{first}-{first + width - 1}"
        left, right, y = frame.x(first), frame.x(first + width), frame.y(count)
        bar = {"x": left, "y": y, "width": max(0.5, round(right - left - 0.8, 1)), "height": frame.y(0) - y}
        parts.append(tag("rect", tag("title", f"{span} {x_unit}: {count} {y_unit}"), cls="bar", **bar))
    for number, mark in enumerate(marks):
        x, y = frame.x(mark.at), 22 + 13 * number
        parts.append(tag("line", x1=x, x2=x, y1=y, y2=HEIGHT - BOTTOM, cls=f"mark {mark.css}"))
        side = "end" if x > WIDTH / 2 else "start"
        parts.append(tag("text", mark.name, x=x - 4 if side == "end" else x + 4, y=y + 4, text_anchor=side, cls="word"))
    return _svg(title, parts)


def finite(points: Iterable[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most that many: each the mean of its neighbours, and the last one as it is."""
    if len(points) <= most:
        return list(points)
    size = math.ceil((len(points) - 1) / (most - 1))
    groups = [points[start : start + size] for start in range(0, len(points) - 1, size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [*means, points[-1]]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two others: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float, *, smallest: float | None = None) -> str:
    """As short as it can be read: `12,000`, `0.25`, `2e-5`. smallest: of the same axis, whose numbers look alike."""
    if value and (min(abs(value), smallest or math.inf) < 1e-3 or abs(value) >= 1e7):
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _frame(points: Sequence[Point], *, from_zero: bool, top: int = TOP) -> _Frame:
    """Round limits around all points, with a little air; a single number gets air as well."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x0, x1 = min(xs), max(xs)
    if x0 == x1:
        x0, x1 = x0 - 1, x1 + 1
    low, high = (min(0.0, *ys) if from_zero else min(ys)), max(ys)
    air = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return _Frame(x0, x1, low if from_zero and low == 0.0 else low - air, high + air, top)


def _axes(frame: _Frame, x_unit: str, y_unit: str) -> Iterable[Html]:
    bottom = HEIGHT - BOTTOM
    heights = ticks(frame.y0, frame.y1, 5)
    smallest = min((abs(value) for value in heights if value), default=None)
    for value in heights:
        y = frame.y(value)
        yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, cls="grid")
        yield tag("text", number(value, smallest=smallest), x=LEFT - 7, y=y + 4, text_anchor="end", cls="tick")
    for value in ticks(frame.x0, frame.x1, 6):
        if value == round(value):
            yield tag("text", number(value), x=frame.x(value), y=bottom + 17, text_anchor="middle", cls="tick")
    yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, cls="axis")
    yield tag("text", y_unit, x=2, y=12, cls="unit")
    yield tag("text", x_unit, x=WIDTH - RIGHT, y=HEIGHT - 2, text_anchor="end", cls="unit")


def _hovers(frame: _Frame, curve: Curve, points: Sequence[Point], x_unit: str, y_unit: str) -> list[Html]:
    return [
        tag(
            "circle", tag("title", f"{curve.name}: {number(y)} {y_unit} ({x_unit} {number(round(x))})"),
            cx=frame.x(x), cy=frame.y(y), r=6, cls=f"hit {curve.css}",
        )
        for x, y in thinned(points, HOVERS)
    ]  # fmt: skip


def _svg(title: str, parts: Iterable[Html]) -> Html:
    view = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", join(parts), viewBox=view, role="img", aria_label=title, xmlns="http://www.w3.org/2000/svg")
