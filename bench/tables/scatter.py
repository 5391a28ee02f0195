"""A plot of points with intervals as a static SVG file, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from stablequant.report.svg import Scale, line, tag, words

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 340, 56, 44, 26
STYLE = """text { font: 12px sans-serif; fill: #222 } .axis { stroke: #999 } .s0 { stroke: #2166ac; fill: #2166ac }
.s1 { stroke: #b2560d; fill: #b2560d } .s2 { stroke: #4d8b31; fill: #4d8b31 } .s0, .s1, .s2 { stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .s0 { stroke: #6baed6; fill: #6baed6 }
.s1 { stroke: #fdae6b; fill: #fdae6b } }"""

#: x, y, and the ends of y's interval.
Point = tuple[float, float, float, float]


def scatter(series: Mapping[str, Sequence[Point]], x_title: str, y_title: str) -> str:
    """Points by series, a colour each, with a line at y = 0."""
    points = [point for found in series.values() for point in found]
    xs = [x for x, *_ in points]
    across = Scale(min(xs) - 0.03 * (max(xs) - min(xs)), max(xs) + 0.03 * (max(xs) - min(xs)))
    up = Scale(min(0.0, *(low for _, _, low, _ in points)), max(0.0, *(high for *_, high in points)))

    def at_x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * across.share(value)

    def at_y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - up.share(value))

    parts: list[Markup] = [words("4", 14, y_title, "", "start"), words(str(WIDTH - 10), HEIGHT - 6, x_title, "", "end")]
    for value in up.ticks(6):
        parts.append(words(str(LEFT - 8), at_y(value) + 4, f"{value:+g}" if value else "0", "", "end"))
    for value in across.ticks(6):
        parts.append(words(f"{at_x(value):.1f}", HEIGHT - BOTTOM + 18, f"{value:g}"))
    parts.append(line(str(LEFT), at_y(0.0), str(WIDTH - 10), at_y(0.0), "axis"))
    for number, (name, found) in enumerate(series.items()):
        style = f"s{number}"
        for x, y, low, high in found:
            parts.append(line(f"{at_x(x):.1f}", at_y(low), f"{at_x(x):.1f}", at_y(high), style))
            parts.append(tag("circle", cx=at_x(x), cy=at_y(y), r=4, class_=style))
        left = LEFT + 260 + 170 * number
        parts.append(tag("circle", cx=float(left), cy=10.0, r=4, class_=style))
        parts.append(words(str(left + 10), 14, name, "", "start"))
    head = tag("style", Markup(STYLE))  # noqa: S704 - a literal of this file
    size = {"width": WIDTH, "height": HEIGHT, "viewBox": f"0 0 {WIDTH} {HEIGHT}"}
    label = f"{y_title} against {x_title}"
    drawn = tag("svg", head, *parts, xmlns="http://www.w3.org/2000/svg", role="img", aria_label=label, **size)
    return str(drawn) + "\n"
