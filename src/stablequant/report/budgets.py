"""What other budgets would have given, beside a choice of widths: estimated divergence against bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from stablequant.report.plots import grid_x
from stablequant.report.svg import Scale, anchor, area, line, picture, tag, words


def frontier(rows: Sequence[Mapping[str, Any]], height: float = 200) -> Markup:
    """The best choice within each budget as a dot, the one that was made marked.

    Args:
        rows: Of summary.json: ``bytes_ratio``, ``estimate`` in nats a step, ``chosen``; the smallest first.
        height: Of the plot in pixels.
    """
    points = [(100 * r["bytes_ratio"], r["estimate"], r["chosen"]) for r in rows]
    across = Scale(points[0][0], points[-1][0])
    up = Scale(0.0, 1.08 * max(nats for _, nats, _ in points))

    def y(nats: float) -> float:
        return height * (1 - up.share(nats))

    parts = [grid_x(across, across.ticks(6), 0, height, " %")]
    for value in up.ticks(4):
        parts += [
            line("0%", y(value), "100%", y(value), "grid"),
            words("-12", y(value) + 4, f"{value:g}", anchor="end"),
        ]
    parts.append(area([(across.share(x), up.share(nats)) for x, nats, _ in points], height, "curve", closed=False))
    told = ""
    for x, nats, chosen in sorted(points, key=lambda point: point[2]):
        text = f"{x:.1f} % of the bytes: {nats:.2g} nats a step"
        kind = "dot accent" if chosen else "dot small"
        dot = tag("circle", cx=across.percent(x), cy=y(nats), r=6 if chosen else 3, class_=kind)
        parts.append(tag("g", tag("title", text), dot))
        if chosen:
            told = f"; chosen: {text}"
            # Above and to the right of a curve that falls there is room.
            parts.append(words(across.percent(x), y(nats) - 12, text, "chosen", anchor(across.share(x))))
    label = f"Estimated divergence against bytes, {points[0][0]:.1f} to {points[-1][0]:.1f} %{told}"
    return picture(height + 22, *parts, label=label)
