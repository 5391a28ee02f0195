"""The plot of a benchmark: speed against the best float32 runtime, a row a system, a block a case."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from stablequant.report.svg import Scale, line, tag, words

#: Pixels: width, height of a row, room for names on the left.
WIDTH, ROW, LEFT = 860, 18, 250
STYLE = """text { font: 12px sans-serif; fill: #222 } .head { font-weight: bold }
.float { fill: #b8b8b8 } .int8 { fill: #2166ac } .one { stroke: #222; stroke-dasharray: 3 3 } .spread { stroke: #222 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .one, .spread { stroke: #ddd } }"""


def speeds(result: dict[str, Any]) -> str:
    """An SVG file: a bar a system, 1 for the fastest float32 of the case, with a line from its slowest to its fastest round."""
    int8 = {s["name"] for s in result["systems"] if s["int8"]}
    most = max(s["speedup"] * s["seconds"] / s["fastest"] for case in result["cases"] for s in case["systems"])
    scale = Scale(0.0, 1.05 * most)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 50) * scale.share(value)

    parts: list[Markup] = []
    y = 0
    for case in result["cases"]:
        length = "real recordings" if case["seconds"] == "real" else f"{case['seconds']:g} s"
        y += ROW + 6
        parts.append(words("4", y, f"{length}, batch {case['batch']}, threads {case['threads']}", "head", "start"))
        top = y + 4
        for s in case["systems"]:
            y += ROW
            width = x(s["speedup"]) - LEFT
            kind = "int8" if s["name"] in int8 else "float"
            parts.append(words(str(LEFT - 6), y, s["name"], "", "end"))
            parts.append(tag("rect", x=LEFT, y=y - ROW + 7, width=width, height=ROW - 7, class_=kind))
            ends = [x(s["speedup"] * s["seconds"] / s[end]) for end in ("slowest", "fastest")]
            parts.append(line(f"{ends[0]:.1f}", y - 5.5, f"{ends[1]:.1f}", y - 5.5, "spread"))
            parts.append(words(f"{max(ends) + 6:.1f}", y, f"{s['speedup']:.2f}", "", "start"))
        parts.append(line(f"{x(1.0):.1f}", top, f"{x(1.0):.1f}", y + 2, "one"))
    label = "Speed as a multiple of the fastest float32 runtime"
    head = tag("style", Markup(STYLE))  # noqa: S704 - a literal of this file
    size = {"width": WIDTH, "height": y + 12, "viewBox": f"0 0 {WIDTH} {y + 12}"}
    return (
        str(tag("svg", head, *parts, xmlns="http://www.w3.org/2000/svg", role="img", aria_label=label, **size)) + "\n"
    )
