"""How wide each layer's input is: the largest magnitude beside the one that 99.9 % of the values do not exceed.

The gap between both is what one static grid wastes: a scale that reaches the largest value leaves the rest few steps
(StableQuant, figure 1a).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from stablequant.observe.collect import Histograms
from stablequant.quantize.plan import LayerPlan
from stablequant.report.formats import figure, split_name
from stablequant.report.svg import Scale, anchor, line, picture, tag, words

#: Per cent of the magnitudes that lie within the smaller of both.
SHARE = 99.9
#: Pixels.
HEIGHT = 240.0


@dataclass(frozen=True)
class LayerRange:
    """One activation.

    Attributes:
        layer: Its name, and which input where it has two.
        graph: That it belongs to.
        usual: The magnitude that `SHARE` per cent of the values do not exceed.
        largest: The largest magnitude.
        strong: Whether the layer stands out.
    """

    layer: str
    graph: str
    usual: float
    largest: float
    strong: bool = False

    @property
    def ratio(self) -> float:
        """How many times the usual range the largest value is; infinite where nearly all values are 0."""
        return self.largest / self.usual if self.usual > 0 else math.inf if self.largest > 0 else 1.0


def layer_ranges(layers: Sequence[LayerPlan], histograms: Histograms) -> list[LayerRange]:
    """Of every activation that was observed, in network order."""
    found = []
    for layer in layers:
        inputs = histograms.get(layer.name, ())
        for number, histogram in enumerate(inputs, 1):
            name = layer.name + (f", input {number}" if len(inputs) > 1 else "")
            ends = histogram.percentile_abs(SHARE), histogram.percentile_abs(100)
            found.append(LayerRange(name, layer.graph, *ends, layer.flagged))
    return found


def widest(found: Sequence[LayerRange]) -> LayerRange:
    """The one whose largest value stands out most."""
    return max(found, key=lambda r: r.ratio)


def ranges(found: Sequence[LayerRange]) -> Markup:
    """Every activation as a stem from its usual to its largest magnitude, in network order, on a logarithmic axis."""
    sizes = [math.log10(v) for r in found for v in (r.usual, r.largest) if v > 0] or [0.0]
    scale = Scale(math.floor(min(sizes)), max(math.ceil(max(sizes)), math.floor(min(sizes)) + 1))

    def y(value: float) -> float:
        return HEIGHT * (1 - scale.share(math.log10(value) if value > 0 else scale.low))

    parts = []
    decades = range(int(scale.low), int(scale.high) + 1)
    for power in decades:
        parts.append(line("0%", y(10.0**power), "100%", y(10.0**power), "grid"))
        parts.append(words("-12", y(10.0**power) + 4, f"{10.0**power:g}", anchor="end"))
    parts += _places(found)
    for number, row in enumerate(found):
        x = f"{_x(number, found):.2f}%"
        told = f"{row.layer}: largest {figure(row.largest)}, {SHARE:g} % within {figure(row.usual)}"
        kind = "strong" if row.strong else ""
        parts.append(
            tag(
                "g",
                tag("title", f"{told} ({figure(row.ratio)} times)"),
                line(x, y(row.usual), x, y(row.largest), f"stem {kind}"),
                tag("circle", cx=x, cy=y(row.usual), r=2.5, class_=f"usual {kind}"),
                tag("circle", cx=x, cy=y(row.largest), r=2.5, class_=f"largest {kind}"),
            )
        )
    most = widest(found)
    label = (
        f"Range of {len(found)} activations in network order, logarithmic: the largest magnitude beside the one that {SHARE:g} % "
        f"do not exceed. Furthest apart in {most.layer}: {figure(most.largest)} beside {figure(most.usual)}"
    )
    return picture(HEIGHT + 38, *parts, label=label)


def _x(number: float, found: Sequence[LayerRange]) -> float:
    """Per cent of the width at which an activation stands."""
    return 100 * (number + 0.5) / len(found)


def _places(found: Sequence[LayerRange]) -> list[Markup]:
    """Where graphs begin, with their names, and blocks, with their numbers where there is room."""
    parts, number, last = [], 0, -100.0
    several = len({row.graph for row in found}) > 1
    for graph, members in groupby(found, key=lambda r: r.graph):
        begin = _x(number - 0.5, found)
        if several:
            parts.append(line(f"{begin:.2f}%", 0, f"{begin:.2f}%", HEIGHT + 34, "zero"))
            parts.append(words(f"{begin:.2f}%", HEIGHT + 34, graph, "graph", "start", 5))
        first = ""
        for module, rows in groupby(members, key=lambda r: split_name(r.layer)[0]):
            at = _x(number - 0.5, found)
            stem, _, block = module.rpartition(".")
            # What lies among the blocks of another stack, as keys of cross-attention, is not numbered.
            if block.isdigit() and stem == (first := first or stem):
                parts.append(line(f"{at:.2f}%", 0, f"{at:.2f}%", HEIGHT + 4, "grid"))
                middle = at + 50 * len(group := list(rows)) / len(found)
                if middle - last > 4:
                    parts.append(words(f"{middle:.2f}%", HEIGHT + 17, block, "", anchor(middle / 100)))
                    last = middle
                number += len(group)
            else:
                number += len(list(rows))
    return parts
