"""The layers of a model on the page, in network order, by graph and by module: what each costs, what each could have had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from stablequant.quantize.options import PER_BLOCK, PER_FRAME, PER_FRAME_SHIFTED, RESIDUAL, STATIC, STATIC_SHIFTED
from stablequant.quantize.plan import LayerPlan
from stablequant.report import formats, plots
from stablequant.report.svg import Scale

#: Schemes as a plot marks them: those of one kind alike.
KINDS = {
    STATIC: "static",
    STATIC_SHIFTED: "static",
    PER_FRAME: "frame",
    PER_FRAME_SHIFTED: "frame",
    PER_BLOCK: "frame",
    RESIDUAL: "residual",
}
#: Powers of ten that the axis of nats spans at most.
DECADES = 6
#: Fewer nats a step than this are drawn at the end of the axis.
LEAST_NATS = 1e-9


@dataclass(frozen=True)
class Row:
    """One layer: its name within its group, what it comes to in words, whether it stands out, and its plot."""

    name: str
    value: str
    strong: bool
    plot: Markup


@dataclass(frozen=True)
class Group:
    """Layers that follow each other in one module."""

    name: str
    rows: tuple[Row, ...]


def sensitivity(layers: Sequence[LayerPlan], gamma: float) -> list[tuple[str, list[Group]]]:
    """Every layer's cost alone, as stage 1 measured it."""
    costs = [layer.sensitivity or 0.0 for layer in layers]
    # At least four gammas wide, so that a calm model does not look like an alarming one.
    scale = Scale(min(0.0, *costs), max(4 * gamma, 1.0, *costs), root=True)

    def row(layer: LayerPlan) -> Row:
        delta = layer.sensitivity or 0.0
        title = f"{layer.name}: {formats.signed(delta)} points"
        plot = plots.bar(delta, gamma, scale, layer.flagged, title)
        return Row(split_name(layer.name)[1], formats.signed(delta), layer.flagged, plot)

    return _grouped(layers, row)


def schemes(layers: Sequence[LayerPlan]) -> list[tuple[str, list[Group]]]:
    """What rounding each layer's input costs under each scheme, and which one the layer was given."""
    scale = nats_scale(layers)

    def row(layer: LayerPlan) -> Row:
        chosen = next((o.scheme for o in layer.options if o.chosen), "")
        dots = [
            plots.Dot(scale.share(math.log10(max(o.divergence or 0.0, LEAST_NATS))), KINDS[o.scheme], o.chosen)
            for o in layer.options
            if o.divergence is not None
        ]
        nats = "; ".join(f"{o.scheme} {o.divergence:.1e}" for o in layer.options if o.divergence is not None)
        title = f"{layer.name}: {chosen or 'in float'}. Estimated nats a step: {nats or 'not estimated'}"
        return Row(split_name(layer.name)[1], chosen, KINDS.get(chosen) == "frame", plots.dots(dots, title))

    return _grouped(layers, row)


def nats_scale(layers: Sequence[LayerPlan]) -> Scale:
    """The common axis of the schemes' nats, in powers of ten."""
    found = [o.divergence for layer in layers for o in layer.options if o.divergence] or [1.0]
    high = math.log10(max(found))
    # The least lie so far below the rest that they would press it together.
    return Scale(max(math.log10(min(found)), high - DECADES), high)


def _grouped(layers: Sequence[LayerPlan], row: Callable[[LayerPlan], Row]) -> list[tuple[str, list[Group]]]:
    """Rows of layers by graph, and in it by module."""
    result = []
    for graph, members in groupby(layers, key=lambda layer: layer.graph):
        groups = [
            Group(module, tuple(map(row, rows)))
            for module, rows in groupby(members, key=lambda layer: split_name(layer.name)[0])
        ]
        result.append((graph, groups))
    return result


def split_name(name: str) -> tuple[str, str]:
    """A layer's name as module and what is left, the module ending in the number of a block where there is one.

    ``a.layers.3.attention.q`` is ``a.layers.3`` and ``attention.q``; ``a.convs.0.conv`` is ``a.convs`` and ``0.conv``,
    for a block that is one operation is no group.
    """
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit() and len(parts) - i > 2]
    cut = numbers[0] + 1 if numbers else max(len(parts) - 1, 0)
    if not numbers and len(parts) > 2 and parts[-2].isdigit():
        cut -= 1
    return ".".join(parts[:cut]), ".".join(parts[cut:])
