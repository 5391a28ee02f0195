"""What was calibrated on clean speech, elsewhere: divergence, in tables and the two plots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup
from result_path import load_result

from stablequant.report.svg import Scale, line, tag, words
from tables.markdown import cpu, markdown

#: Schemes in the order of columns, and how each is drawn.
SCHEMES = {
    "mse": ("one scale, mse", "#b2182b", "circle"),
    "clipped": ("clipped at the p of clean speech", "#e08214", "circle"),
    "two planes": ("two planes", "#5e3c99", "circle"),
    "frame": ("a scale a frame", "#2166ac", "circle"),
    "mse, mixed": ("mse, mixed calibration", "#b2182b", "ring"),
    "clipped, mixed": ("clipped, mixed calibration", "#e08214", "ring"),
}
#: Pixels: width, height of a row, room for names on the left.
WIDTH, ROW, LEFT = 860, 22, 190
STYLE = """text { font: 12px sans-serif; fill: #222 } .head { font-weight: bold } .grid { stroke: #bbb; stroke-width: .5 }
.spread { stroke: #2166ac; stroke-width: 2 } .clean { stroke: #222; stroke-dasharray: 3 3 } .at { fill: #2166ac }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .clean { stroke: #ddd } .grid { stroke: #555 } }"""


def table(name: str) -> str:
    """Of bench/domain_shift.py."""
    parts = []
    for model, found in load_result(name)["models"].items():
        rows, names = found["conditions"], [name for name, *_ in SCHEMES.values()]
        parts += [
            f"**{model}**, calibrated on {found['calibration_utterances']['clean']} clean utterances of "
            f"{', '.join(found['sources'])}, or on {found['calibration_utterances']['mixed']} of a mixed set. Nats a step from "
            "float, each with its standard error:",
            markdown(["", "utterances", *names], [_nats(c, r) for c, r in rows.items() if "schemes" in r]),
            "Times that of clean speech, with the 95 % interval (paired over recordings, but for other sets and joined ones):",
            markdown(["", *names], [_growth(c, r) for c, r in rows.items() if "schemes" in r and c != "clean"]),
        ]
        mixed = [_mixed(c, r) for c, r in rows.items() if "schemes" in r]
        parts += [
            "What a mixed calibration set makes of it, times the divergence of the clean one's:",
            markdown(["", *names[:2]], mixed),
        ]
        parts.append(f"{cpu(found)}. `{found['command']}`")
    return "\n\n".join(parts)


def _nats(condition: str, row: dict[str, Any]) -> list[str]:
    cells = [row["schemes"][s] for s in SCHEMES]
    return [condition, str(row["utterances"]), *(f"{c['divergence']:.4f} ± {c['divergence_error']:.4f}" for c in cells)]


def _growth(condition: str, row: dict[str, Any]) -> list[str]:
    cells = [row["schemes"][s] for s in SCHEMES]
    return [
        condition,
        *(f"{c['growth']:.1f} ({c['growth_interval'][0]:.1f} to {c['growth_interval'][1]:.1f})" for c in cells),
    ]


def _mixed(condition: str, row: dict[str, Any]) -> list[str]:
    cells = [row["schemes"][f"{s}, mixed"] for s in ("mse", "clipped")]
    key = "of_clean_calibration"
    return [
        condition,
        *(f"{c[key]:.2f} ({c[f'{key}_interval'][0]:.2f} to {c[f'{key}_interval'][1]:.2f})" for c in cells),
    ]


def plot_delta(name: str) -> str:
    """An SVG file: divergence of every scheme from float, a row a condition, a block a model; the axis is logarithmic."""
    models = load_result(name)["models"]
    values = [
        c["divergence"]
        for m in models.values()
        for r in m["conditions"].values()
        for c in r.get("schemes", {}).values()
    ]
    low, high = math.floor(math.log10(min(values))), math.log10(max(values)) + 0.1
    scale = Scale(low, high)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 30) * scale.share(math.log10(max(value, 10**low)))

    def ticks() -> Iterator[tuple[float, str]]:
        for power in range(low, math.floor(high) + 1):
            yield from ((x(m * 10**power), f"{m * 10**power:g}") for m in (1, 3) if math.log10(m * 10**power) <= high)

    y, parts = ROW, []
    for i, (label, colour, shape) in enumerate(SCHEMES.values()):
        at = 10 + (i % 3) * 280
        parts += [_mark(at, y - 4, colour, shape), words(str(at + 9), y, label, anchor="start")]
        y += ROW if i % 3 == 2 else 0
    for model, found in models.items():
        y += ROW
        parts.append(words("4", y, f"{model}: nats a step from float", "head", "start"))
        top = y + 4
        for condition, row in found["conditions"].items():
            if "schemes" not in row:
                continue
            y += ROW
            parts.append(words(str(LEFT - 10), y, condition, anchor="end"))
            parts += [
                _mark(x(row["schemes"][s]["divergence"]), y - 4, colour, shape)
                for s, (_, colour, shape) in SCHEMES.items()
            ]
        parts += _axis(ticks(), top, y)
        y += ROW
    return _file(parts, y + 8, "Divergence from float of each scheme under each condition")


def plot_p(name: str) -> str:
    """An SVG file: the p of least divergence and its interval, a row a condition; values tried are evenly spaced."""
    y, parts = 4, []
    for model, found in load_result(name)["models"].items():
        tried = found["p_values"]
        step = (WIDTH - LEFT - 40) / max(1, len(tried) - 1)
        places = {p: LEFT + 10 + i * step for i, p in enumerate(tried)}
        y += ROW
        parts.append(
            words(
                "4",
                y,
                f"{model}: p of least divergence, in % of the mass; dashed: that of clean speech",
                "head",
                "start",
            )
        )
        top = y + 4
        for condition, row in found["conditions"].items():
            if "p_opt" not in row:
                continue
            y += ROW
            low, high = (places[p] for p in row["p_interval"])
            parts.append(words(str(LEFT - 10), y, condition, anchor="end"))
            parts.append(line(f"{low:.1f}", y - 4, f"{high:.1f}", y - 4, "spread"))
            parts.append(tag("circle", cx=round(places[row["p_opt"]], 1), cy=y - 4, r=5, class_="at"))
        parts += _axis(((at, f"{p:g}") for p, at in places.items()), top, y)
        parts.append(line(f"{places[found['p_clean']]:.1f}", top, f"{places[found['p_clean']]:.1f}", y + 2, "clean"))
        y += ROW
    return _file(parts, y + 8, "The p that a search finds under each condition")


def _mark(x: float, y: float, colour: str, shape: str) -> Markup:
    fill, stroke = (colour, None) if shape == "circle" else ("none", colour)
    return tag("circle", cx=round(x, 1), cy=y, r=4.5, fill=fill, stroke=stroke, stroke_width=2 if stroke else None)


def _axis(ticks: Iterator[tuple[float, str]], top: float, bottom: float) -> Iterator[Markup]:
    for at, label in ticks:
        yield line(f"{at:.1f}", top, f"{at:.1f}", bottom + 4, "grid")
        yield words(f"{at:.1f}", bottom + 16, label)


def _file(parts: Sequence[Markup], height: float, label: str) -> str:
    head = tag("style", Markup(STYLE))  # noqa: S704 - a literal of this file
    size = {"width": WIDTH, "height": height, "viewBox": f"0 0 {WIDTH} {height}"}
    return (
        str(tag("svg", head, *parts, xmlns="http://www.w3.org/2000/svg", role="img", aria_label=label, **size)) + "\n"
    )
