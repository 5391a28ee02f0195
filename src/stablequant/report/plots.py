"""The page's plots: small pure functions from numbers to SVG."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from stablequant.grid.affine import Range
from stablequant.grid.histogram import Bins
from stablequant.report.formats import figure, signed
from stablequant.report.svg import Scale, anchor, area, line, picture, tag, words

#: Columns of a drawn histogram.
COLUMNS = 240


class Estimate(NamedTuple):
    """A difference to float and the ends of its interval, in points."""

    name: str
    delta: float
    low: float
    high: float
    strong: bool = False


def intervals(rows: Sequence[Estimate]) -> Markup:
    """Differences to float with their intervals, one row each, on a common square-root axis through zero."""
    low, high = min(0.0, *(r.low for r in rows)), max(0.0, *(r.high for r in rows))
    scale = Scale(low * 1.05 - 0.1, high * 1.05 + 0.1, root=True)
    pitch, top = 26, 8
    bottom = top + pitch * len(rows)
    parts = [grid_x(scale, scale.ticks(6), top - 4, bottom, "")]
    parts.append(line(scale.percent(0), top - 4, scale.percent(0), bottom, "zero"))
    for i, row in enumerate(rows):
        y = top + pitch * (i + 0.5)
        title = tag("title", f"{row.name}: {signed(row.delta)} points, {signed(row.low)} to {signed(row.high)}")
        kind = "accent" if row.strong else "plain"
        parts.append(
            tag(
                "g",
                title,
                line(scale.percent(row.low), y, scale.percent(row.high), y, f"whisker {kind}"),
                tag("circle", cx=scale.percent(row.delta), cy=y, r=4.5, class_=f"dot {kind}"),
                # Nothing but a larger target for the pointer.
                tag("rect", x=0, y=y - pitch / 2, width="100%", height=pitch, class_="target"),
            )
        )
    label = "Difference of the error rate to float32 with its 95 % interval: " + "; ".join(
        f"{r.name} {signed(r.delta)} ({signed(r.low)} to {signed(r.high)})" for r in rows
    )
    return picture(bottom + 22, *parts, label=label)


def bar(delta: float, gamma: float, scale: Scale, flagged: bool, title: str) -> Markup:
    """One layer's cost as a bar from zero, with gamma as a mark."""
    start, end = sorted((scale.share(0.0), scale.share(delta)))
    return picture(
        14,
        tag("title", title),
        tag(
            "rect",
            x=f"{100 * start:.2f}%",
            y=4,
            width=f"{100 * (end - start):.2f}%",
            height=7,
            class_="flagged" if flagged else "calm",
        ),
        line(scale.percent(0), 1, scale.percent(0), 14, "zero"),
        line(scale.percent(gamma), 0, scale.percent(gamma), 14, "gamma"),
        label=title,
        class_="bar",
    )


class Dot(NamedTuple):
    """Where one scheme of a layer lies on its axis, what kind it is of, and whether the layer was given it."""

    share: float
    kind: str
    chosen: bool


def dots(found: Sequence[Dot], title: str) -> Markup:
    """One layer's schemes as dots on a common axis, the chosen one filled and drawn last."""
    marks = [
        tag(
            "circle",
            cx=f"{2 + 96 * d.share:.2f}%",
            cy=7.5,
            r=5 if d.chosen else 3,
            class_=f"{d.kind} {'chosen' if d.chosen else ''}",
        )
        for d in sorted(found, key=lambda d: d.chosen)
    ]
    axis = line("0%", 7.5, "100%", 7.5, "axis")
    return picture(15, tag("title", title), axis, *marks, label=title, class_="dots")


def p_curve(
    tried: Sequence[tuple[float, float]],
    reference: float,
    chosen: float,
    height: float = 220,
    *,
    band: Sequence[tuple[float, float, float]] = (),
    name: str = "error rate",
    unit: str = "%",
) -> Markup:
    """What a plan costs on dev over p, float as a line, the chosen p marked.

    Where a few values dwarf the rest they are drawn as arrows at the upper edge, with their number.

    Args:
        tried: p in per cent, and the cost.
        reference: Cost in float.
        chosen: The p that won.
        height: Of the plot in pixels.
        band: p, and the ends of the interval of its cost, where that is known.
        name: What the cost is.
        unit: Of the cost.
    """
    points = sorted(tried)
    rates = [rate for _, rate in points]
    usual = reference + 4 * max(median(rates) - reference, 0.25)
    top_value = max(rates) if max(rates) <= usual * 1.5 else usual
    low = min(reference, *rates, *(ends[1] for ends in band))
    room = max(top_value - low, 0.5)
    y_scale = Scale(max(0.0, low - 0.12 * room), top_value + 0.08 * room)
    x_scale = Scale(points[0][0], points[-1][0])

    def y(value: float) -> float:
        return height * (1 - y_scale.share(value))

    parts = [grid_x(x_scale, x_scale.ticks(5), 0, height, " %")]
    for value in y_scale.ticks(4):
        parts += [
            line("0%", y(value), "100%", y(value), "grid"),
            words("-12", y(value) + 4, f"{value:g}", anchor="end"),
        ]
    parts.append(line("0%", y(reference), "100%", y(reference), "reference"))
    edge = [(x_scale.share(p), *map(y_scale.share, ends)) for p, *ends in sorted(band)]
    outline = [*((x, low_) for x, low_, _ in edge), *((x, high_) for x, _, high_ in reversed(edge))]
    parts.append(area(outline, height, "band", closed=True))
    curve = [(x_scale.share(p), y_scale.share(rate)) for p, rate in points]
    parts.append(area(curve, height, "curve", closed=False))
    last_label = -1.0
    for p, rate in points:
        x, here = x_scale.share(p), y(rate)
        title = tag("title", f"p = {p:g} %: {name} {rate:.2f} {unit}")
        if rate > y_scale.high:
            parts.append(tag("g", title, words(x_scale.percent(p), 9, "\N{BLACK UP-POINTING TRIANGLE}", "beyond")))
            if x - last_label > 0.12:
                parts.append(words(f"{100 * x + 1.2:.2f}%", 22, f"{rate:.1f}", "beyond", "start"))
                last_label = x
        else:
            kind = "dot accent" if p == chosen else "dot small"
            parts.append(
                tag("g", title, tag("circle", cx=f"{100 * x:.2f}%", cy=here, r=6 if p == chosen else 3, class_=kind))
            )
    won = dict(points)[chosen]
    # The winner is the lowest point, so its name has room beneath, unless the axis or float's line is there.
    below = y(won) + 20
    free = below < height - 4 and abs(below - 4 - y(reference)) > 10
    parts.append(
        words(
            x_scale.percent(chosen),
            below if free else y(won) - 12,
            f"p = {chosen:g} %: {won:.2f} {unit}",
            "chosen",
            anchor(x_scale.share(chosen)),
        )
    )
    found = f"from {min(rates):.2f} to {max(rates):.2f} {unit}; chosen p = {chosen:g} %, {won:.2f} {unit}"
    label = f"{name.capitalize()} on dev over p, {found}"
    return picture(height + 22, *parts, label=label)


def histogram(bins: Bins, grid: Range, height: float = 170) -> Markup:
    """Counts of an activation's values on a logarithmic scale, the part beyond the grid's ends in another colour.

    Args:
        bins: All values, signed.
        grid: Real values of the lowest and the highest code.
        height: Of the plot in pixels.
    """
    smallest, largest = float(bins.low[0]), float(bins.high[-1])
    x_scale = Scale(min(smallest, grid.low), max(largest, grid.high))
    edges = np.linspace(x_scale.low, x_scale.high, COLUMNS + 1)
    counts = np.diff(mass_below(bins, edges))
    y_scale = Scale(0.0, float(np.log10(1 + counts.max())) * 1.08)
    centres = (edges[1:] + edges[:-1]) / 2
    kept = (centres >= grid.low) & (centres <= grid.high)
    top = 34.0
    parts = []
    for power in range(0, int(y_scale.high) + 1, 2 if y_scale.high > 4 else 1):
        at = top + height * (1 - y_scale.share(float(np.log10(1 + 10.0**power)) if power else 0.0))
        parts.append(line("0%", at, "100%", at, "grid"))
        parts.append(words("-12", at + 4, _power(power) if power else "0", anchor="end"))
    bodies = [
        area(_steps(edges, np.where(mask, counts, 0.0), x_scale, y_scale), height, kind, closed=True)
        for mask, kind in ((kept, "mass"), (~kept, "mass clipped"))
    ]
    parts.append(tag("svg", *bodies, x=0, y=top, width="100%", height=height))
    bottom = top + height
    parts.append(grid_x(x_scale, x_scale.ticks(6), bottom, bottom + 8, ""))
    left, right = x_scale.share(grid.low), x_scale.share(grid.high)
    for end, value in (("min", smallest), ("max", largest)):
        share = x_scale.share(value)
        parts.append(line(x_scale.percent(value), 14, x_scale.percent(value), bottom, "extreme"))
        side = _beside(share, left=end == "min")
        parts.append(words(x_scale.percent(value), 10, f"{end} {figure(value)}", "extreme", side, 4))
    for value in (grid.low, grid.high):
        if smallest < value < largest:
            share = x_scale.share(value)
            parts.append(line(x_scale.percent(value), top - 6, x_scale.percent(value), bottom + 2, "cutoff"))
            # Between the two marks, where no extreme is, if there is room for both names.
            side = _beside(share, left=(value == grid.low) != (right - left > 0.5))
            parts.append(words(x_scale.percent(value), top - 10, f"cut-off {figure(value)}", "cutoff", side, 4))
    parts.append(
        tag(
            "rect",
            x=f"{100 * left:.2f}%",
            y=bottom + 2,
            width=f"{100 * (right - left):.2f}%",
            height=6,
            class_="grid-bar",
        )
    )
    label = (
        f"Histogram of the input's values from {figure(smallest)} to {figure(largest)}, logarithmic counts; "
        f"the int8 grid covers {figure(grid.low)} to {figure(grid.high)}"
    )
    return picture(bottom + 30, *parts, label=label)


def mass_below(bins: Bins, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count of values below each of ``at`` (ascending or not), the mass uniform inside a bin."""
    after = np.cumsum(bins.counts)
    values = np.stack((bins.low, bins.high), axis=1).reshape(-1)
    below: NDArray[np.float64] = np.interp(at, values, np.stack((after - bins.counts, after), axis=1).reshape(-1))
    return below


def clipped_share(bins: Bins, grid: Range) -> float:
    """Share of the values, 0 to 1, that lie beyond the ends of ``grid``."""
    low, high = mass_below(bins, np.array([grid.low, grid.high]))
    total = float(bins.counts.sum())
    return float(low + total - high) / total


def _steps(
    edges: NDArray[np.float64], counts: NDArray[np.float64], x_scale: Scale, y_scale: Scale
) -> list[tuple[float, float]]:
    heights = [y_scale.share(float(h)) for h in np.log10(1 + counts)]
    shares = [x_scale.share(float(e)) for e in edges]
    outline = [(shares[0], 0.0)]
    for left, right, top in zip(shares[:-1], shares[1:], heights, strict=True):
        outline += [(left, top), (right, top)]
    return [*outline, (shares[-1], 0.0)]


def _beside(share: float, *, left: bool) -> str:
    """How to hang text to the left or right of a mark at ``share`` of the width, or on the side that has room."""
    return "end" if (left and share > 0.15) or share > 0.85 else "start"


def _power(exponent: int) -> str:
    digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "10" + str(exponent).translate(digits)


def grid_x(scale: Scale, values: Sequence[float], top: float, bottom: float, unit: str) -> Markup:
    """Vertical rules with their values beneath."""
    parts = []
    for value in values:
        share = scale.share(value)
        parts.append(line(scale.percent(value), top, scale.percent(value), bottom + 4, "grid"))
        parts.append(words(scale.percent(value), bottom + 17, f"{figure(value, 6)}{unit}", anchor=anchor(share)))
    return tag("g", *parts, class_="axis")
