"""Outliers of encoder-decoders by the parts of the model, and as a plot."""

from __future__ import annotations

import math
import statistics
from typing import Any

from result_path import load_result

from stablequant.report.svg import tag
from tables.markdown import made_by, markdown

PARTS = {"encoder": "#4477aa", "decoder": "#228833", "cross-attention": "#ee6677", "head": "#aa3377"}
HEAD = [
    "",
    "layers",
    "ratio, median",
    "largest ratio",
    "of",
    "nats with one scale",
    "most of it",
    "nats with a scale a frame",
]
#: Pixels of the plot: width, height of a model's panel, margins.
WIDTH, PANEL, LEFT, TOP = 760, 190, 60, 34


def table(name: str) -> str:
    """Of bench/outliers.py."""
    r = load_result(name)
    rows = [_row(model, part, found["layers"]) for model, found in r["models"].items() for part in PARTS]
    counts = ", ".join(
        f"{m['recordings']} recordings of {' and '.join(r['data'])} ({n})" for n, m in r["models"].items()
    )
    note = (
        f"{counts} for the ratios, as many others for the nats. Ratio: the largest magnitude of a layer's input over the 99.9th "
        "percentile. Nats a token of divergence from float, estimated, of 8 bits of each layer's input alone, added up."
    )
    return markdown(HEAD, [row for row in rows if row], note, made_by(r))


def _row(model: str, part: str, layers: list[dict[str, Any]]) -> list[str]:
    own = [x for x in layers if x["part"] == part]
    if not own:
        return []
    widest, dearest = (max(own, key=lambda x: x[key]) for key in ("ratio", "nats_max"))
    return [
        f"{model}, {part}",
        str(len(own)),
        f"{statistics.median(x['ratio'] for x in own):.1f}",
        f"{widest['ratio']:.1f}",
        f"`{widest['layer']}`",
        f"{sum(x['nats_max'] for x in own):.2g}",
        f"`{dearest['layer']}` ({dearest['nats_max']:.2g})",
        f"{sum(x['nats_frame'] for x in own):.2g}",
    ]


def drawing(name: str) -> str:
    """The ratios of all layers in the order in which they run, as a picture that stands alone."""
    r = load_result(name)
    height = TOP + PANEL * len(r["models"]) + 10
    highest = max(x["ratio"] for m in r["models"].values() for x in m["layers"])
    top = math.ceil(math.log2(highest))
    parts: list[Any] = [
        tag("title", "The largest input of each layer over the 99.9th percentile"),
        tag("rect", width=WIDTH, height=height, fill="#ffffff"),
    ]
    for i, (part, colour) in enumerate(PARTS.items()):
        parts.append(tag("circle", cx=LEFT + 8 + 150 * i, cy=14, r=4, fill=colour))
        parts.append(tag("text", part, x=LEFT + 18 + 150 * i, y=18))
    for panel, (model, found) in enumerate(r["models"].items()):
        base, room = TOP + PANEL * (panel + 1) - 20, PANEL - 50
        for power in range(top + 1):
            y = base - room * power / top
            parts.append(tag("line", x1=LEFT, x2=WIDTH - 10, y1=y, y2=y, stroke="#dddddd"))
            parts.append(tag("text", f"{2**power}", x=LEFT - 8, y=y + 4, text_anchor="end"))
        parts.append(tag("text", model, x=LEFT, y=base - room - 8, font_weight="bold"))
        step = (WIDTH - 20 - LEFT) / len(found["layers"])
        for i, x in enumerate(found["layers"]):
            y = base - room * math.log2(max(1.0, x["ratio"])) / top
            hint = tag("title", f"{x['layer']}: {x['ratio']:.1f}")
            parts.append(tag("circle", hint, cx=LEFT + step * (i + 0.5), cy=y, r=3.5, fill=PARTS[x["part"]]))
    style = {"font_family": "sans-serif", "font_size": 12, "viewBox": f"0 0 {WIDTH} {height}"}
    return str(tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", width=WIDTH, height=height, **style)) + "\n"
