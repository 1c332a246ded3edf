"""Numbers become a picture that is well-formed, has its ends and units, and stays small."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_factory.runs.chart import HEIGHT, POINTS, WIDTH, Curve, Mark, curves, histogram, number, thinned, ticks
from llama_factory.runs.markup import tag, text

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own picture


def words(svg: str) -> list[str]:
    return [found.text or "" for found in parsed(svg).iter(f"{SVG}text")]


def test_a_curve_has_its_units_its_round_ticks_and_a_word_at_each_point() -> None:
    svg = curves("Loss", [Curve("training", [(10, 2.5), (20, 2.0), (30, 1.0)])], x_unit="step", y_unit="nats")
    assert {"step", "nats", "10", "20", "30", "1", "1.5", "2", "2.5"} <= set(words(svg))
    titles = [found.text for found in parsed(svg).iter(f"{SVG}title")]
    assert titles == ["training: 2.5 nats (step 10)", "training: 2 nats (step 20)", "training: 1 nats (step 30)"]
    assert parsed(svg).get("aria-label") == "Loss"


def test_higher_numbers_are_drawn_higher_and_later_ones_further_right() -> None:
    svg = curves("x", [Curve("c", [(1, 1.0), (2, 5.0), (3, 3.0)])], x_unit="", y_unit="")
    (path,) = parsed(svg).iter(f"{SVG}path")
    places = [tuple(map(float, pair.split())) for pair in (path.get("d") or "")[1:].split("L")]
    (x1, y1), (x2, y2), (x3, y3) = places
    assert x1 < x2 < x3
    assert y2 < y3 < y1


def test_one_point_is_a_dot_and_nothing_is_nothing() -> None:
    assert "<path" not in (one := curves("x", [Curve("c", [(1, 1.0)])], x_unit="", y_unit=""))
    assert 'class="dot c1"' in one
    assert curves("x", [Curve("c", [])], x_unit="", y_unit="") == ""
    assert curves("x", [Curve("c", [(1, float("nan"))])], x_unit="", y_unit="") == ""
    assert histogram("x", [], [], x_unit="", y_unit="") == ""


def test_a_long_curve_stays_small_and_keeps_its_end() -> None:
    points = [(float(n), n / 7) for n in range(100_000)]
    short = thinned(points, POINTS)
    assert len(short) <= POINTS
    assert short[-1] == points[-1]
    assert short == sorted(short)
    assert len(curves("x", [Curve("c", points)], x_unit="step", y_unit="")) < 40_000


def test_a_histogram_counts_every_value_once() -> None:
    values = [1, 1, 2, 5, 9, 9, 9]
    svg = histogram("tokens", values, [Mark("p50 5", 5)], x_unit="tokens", y_unit="rows")
    counts = [int(re.findall(r": (\d+) rows", found.text or "")[0]) for found in parsed(svg).iter(f"{SVG}title")]
    assert sum(counts) == len(values)
    assert counts == [2, 1, 0, 0, 1, 0, 0, 0, 3]
    assert "p50 5" in words(svg)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(-1e30, 1e30)), max_size=60))
def test_no_numbers_break_the_picture_or_leave_it(points: list[tuple[int, float]]) -> None:
    svg = curves("x", [Curve("c", sorted(points))], x_unit="step", y_unit="u")
    if not points:
        return
    for found in parsed(svg).iter(f"{SVG}circle"):
        assert -1 <= float(found.get("cx", "")) <= WIDTH + 1
        assert -1 <= float(found.get("cy", "")) <= HEIGHT + 1


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=80))
def test_any_lengths_make_a_histogram(values: list[int]) -> None:
    svg = histogram("x", values, [Mark("m", max(values))], x_unit="", y_unit="rows")
    assert sum(int(re.findall(r": (\d+) rows", one.text or "")[0]) for one in parsed(svg).iter(f"{SVG}title")) == len(
        values
    )


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 2e-4, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]), (7, 7, [7])],
)
def test_ticks_are_round(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high, 5) == pytest.approx(found)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (12000, "12,000"), (0.25, "0.25"), (2e-5, "2e-5"), (1.25e-7, "1.25e-7"), (3e9, "3e9")]
)
def test_numbers_are_short(value: float, said: str) -> None:
    assert number(value) == said


def test_what_is_text_stays_text() -> None:
    assert tag("td", "<b>&", title='"x"') == '<td title="&quot;x&quot;">&lt;b&gt;&amp;</td>'
    assert tag("p", tag("b", "<")) == "<p><b>&lt;</b></p>"
    assert text("a\x00b\ud800") == "a\ufffdb\ufffd"
