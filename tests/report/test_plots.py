"""The plots' numbers, read back from the drawing."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stablequant.grid.affine import Range
from stablequant.grid.histogram import Histogram
from stablequant.report import plots
from stablequant.report.svg import Scale, linear_ticks, tag


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def texts(markup: str) -> list[str]:
    return ["".join(e.itertext()) for e in parse(markup).iter() if e.tag in ("text", "title")]


def by_class(markup: str, name: str) -> list[ElementTree.Element]:
    return [e for e in parse(markup).iter() if name in e.get("class", "").split()]


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram("h")
    histogram.update(torch.from_numpy(values.astype(np.float32)))
    return histogram


def test_element_escapes_content_and_attributes() -> None:
    drawn = str(tag("text", '<script>"a" & b</script>', class_='x" onload="y'))
    assert "<script>" not in drawn
    element = parse(drawn)
    assert element.text == '<script>"a" & b</script>'
    assert element.attrib == {"class": 'x" onload="y'}


@given(st.floats(-100, 100), st.floats(0.01, 200), st.booleans())
def test_ticks_lie_on_the_axis_and_rise(low: float, length: float, root: bool) -> None:
    scale = Scale(low, low + length, root)
    ticks = scale.ticks()
    assert ticks == sorted(set(ticks))
    assert all(low - 1e-6 <= t <= low + length + 1e-6 for t in ticks)
    assert len(ticks) <= 13


def test_ticks_are_round() -> None:
    assert linear_ticks(0, 0.5) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert linear_ticks(7.2, 31.0) == [10, 15, 20, 25, 30]


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=9, unique=True), st.booleans())
def test_scale_keeps_order_and_ends(values: list[float], root: bool) -> None:
    values = sorted(values)
    scale = Scale(values[0], values[-1], root)
    shares = [scale.share(v) for v in values]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_intervals_draw_every_row_where_its_numbers_say() -> None:
    rows = [plots.Estimate("max", 21.3, 15.0, 28.0), plots.Estimate("ours", -0.2, -0.9, 0.5, strong=True)]
    drawn = plots.intervals(rows)
    assert "max: +21.30 points, +15.00 to +28.00" in texts(drawn)
    whiskers = by_class(drawn, "whisker")
    ends = [(float(w.get("x1", "")[:-1]), float(w.get("x2", "")[:-1])) for w in whiskers]
    dots = [float(d.get("cx", "")[:-1]) for d in by_class(drawn, "dot")]
    assert len(whiskers) == len(dots) == 2
    assert all(a < x < b for (a, b), x in zip(ends, dots, strict=True))
    zero = float(by_class(drawn, "zero")[0].get("x1", "")[:-1])
    # max's interval is right of zero, ours holds it.
    assert ends[0][0] > zero
    assert ends[1][0] < zero < ends[1][1]


def test_bar_reaches_beyond_gamma_just_when_the_cost_does() -> None:
    scale = Scale(-0.5, 10, root=True)
    for delta in (-0.4, 0.0, 0.2, 0.3, 9.0):
        drawn = plots.bar(delta, 0.25, scale, delta > 0.25, "layer")
        rect = next(e for e in parse(drawn).iter("rect"))
        right = float(rect.get("x", "")[:-1]) + float(rect.get("width", "")[:-1])
        assert (right > 100 * scale.share(0.25)) == (delta > 0.25)


def test_p_curve_names_the_chosen_value_and_holds_every_trial() -> None:
    tried = [(0.0, 31.0), (0.1, 9.0), (0.2, 8.25), (0.3, 9.5), (0.4, 9.4), (0.5, 11.5)]
    drawn = plots.p_curve(tried, 7.4, 0.2)
    shown = texts(drawn)
    for p, wer in tried:
        assert f"p = {p:g} %: error rate {wer:.2f} %" in shown
    assert "p = 0.2 %: 8.25 %" in shown
    # The outlier is told in words at the edge, and does not flatten the rest.
    assert "31.0" in shown
    heights = [float(c.get("cy", "nan")) for c in parse(drawn).iter("circle")]
    assert max(heights) - min(heights) > 60  # on an axis to 31 it would be 30


@pytest.mark.parametrize("tried", [[(0.0, 5.0)], [(0.0, 5.0), (0.25, 5.0), (0.5, 5.0)]])
def test_p_curve_of_one_point_or_a_flat_line_is_drawn(tried: list[tuple[float, float]]) -> None:
    drawn = plots.p_curve(tried, 5.0, 0.0)
    assert "nan" not in drawn
    assert "p = 0 %: 5.00 %" in texts(drawn)


@given(st.integers(0, 2**31), st.floats(0.05, 5.0))
def test_clipped_share_is_the_share_of_samples_beyond_the_grid(seed: int, cutoff: float) -> None:
    values = np.random.default_rng(seed).standard_t(3, 5000).astype(np.float32)
    share = plots.clipped_share(histogram_of(values).nonempty(), Range(-cutoff, cutoff))
    # Exact but for the two bins that the ends cut.
    near = np.mean(np.abs(np.abs(values) - cutoff) <= cutoff * 2**-7)
    assert share == pytest.approx(float(np.mean(np.abs(values) > cutoff)), abs=float(near) + 1e-9)


def test_histogram_marks_ends_cutoffs_and_what_is_clipped() -> None:
    values = np.concatenate((np.random.default_rng(0).normal(0, 2, 20_000), [141.0]))
    drawn = plots.histogram(histogram_of(values).nonempty(), Range(-5.0, 5.0))
    shown = texts(drawn)
    assert shown.count("cut-off 5") == 1
    assert "max 141" in shown
    assert any(t.startswith("min \N{MINUS SIGN}") for t in shown)
    kept, clipped = (e.get("d", "") for e in by_class(drawn, "mass"))
    peak = [min(float(y) for y in re.findall(r" ([\d.]+)", path)) for path in (kept, clipped)]
    assert peak[0] < peak[1] < 1000  # smaller is higher: the kept body towers, the tail is there
    assert "nan" not in drawn


def test_histogram_of_a_constant_is_drawn() -> None:
    drawn = plots.histogram(histogram_of(np.zeros(10)).nonempty(), Range(-128.0, 127.0))
    assert "nan" not in drawn
    assert "max 0" in texts(drawn)


def test_mass_is_spread_without_loss() -> None:
    values = np.random.default_rng(1).standard_cauchy(3000)
    bins = histogram_of(values).nonempty()
    below = plots.mass_below(bins, np.array([-math.inf, bins.low[0], bins.high[-1], math.inf]))
    assert below.tolist() == [0, 0, 3000, 3000]


def test_a_band_holds_the_curve_between_its_ends() -> None:
    drawn = plots.p_curve([(0.0, 9.0), (0.5, 8.0)], 8.0, 0.5, band=[(0.0, 8.5, 9.5), (0.5, 7.0, 9.0)])
    (band,) = by_class(drawn, "band")
    (curve,) = by_class(drawn, "curve")

    def points(element: ElementTree.Element) -> list[tuple[float, ...]]:
        return [tuple(map(float, p.split())) for p in re.findall(r"[\d.]+ [\d.]+", element.get("d", ""))]

    low, high = points(band)[:2], points(band)[:1:-1]
    for (x, y), (_, below), (_, above) in zip(points(curve), low, high, strict=True):
        assert above <= y <= below  # from above
        assert x in (0.0, 1000.0)
    assert plots.p_curve([(0.0, 9.0)], 8.0, 0.0).count('class="band"') == 0
