"""The layers of a model on the page, in network order, by graph and by module: what each costs, what each could have had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean

from markupsafe import Markup

from stablequant.observe.collect import Histograms
from stablequant.quantize.options import (
    FOUR_BITS,
    PER_BLOCK,
    PER_FRAME,
    PER_FRAME_SHIFTED,
    RESIDUAL,
    STATIC,
    STATIC_SHIFTED,
    WEIGHTS_ALONE,
)
from stablequant.quantize.plan import LayerPlan, OptionPlan
from stablequant.quantize.plan_grids import ActivationPlan, BlockPlan, FloatPlan
from stablequant.report import formats, plots
from stablequant.report.ranges import layer_ranges
from stablequant.report.svg import Scale

#: Schemes as a plot marks them: those of one kind alike.
KINDS = {
    STATIC: "static",
    STATIC_SHIFTED: "static",
    PER_FRAME: "frame",
    PER_FRAME_SHIFTED: "frame",
    PER_BLOCK: "frame",
    RESIDUAL: "residual",
    WEIGHTS_ALONE: "narrow",
    **dict.fromkeys(FOUR_BITS.values(), "narrow"),
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
        return Row(formats.split_name(layer.name)[1], formats.signed(delta), layer.flagged, plot)

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
        return Row(formats.split_name(layer.name)[1], chosen, KINDS.get(chosen) == "frame", plots.dots(dots, title))

    return _grouped(layers, row)


def scheme_name(layer: LayerPlan) -> str:
    """How a layer's input is rounded, as allocations call it."""
    chosen = next((o.scheme for o in layer.options if o.chosen), None)
    if chosen or not layer.activations:
        return chosen or "float"
    (first, *_) = layer.activations
    if isinstance(first, ActivationPlan):
        return RESIDUAL if first.planes == 2 else STATIC
    return {BlockPlan: PER_BLOCK, FloatPlan: WEIGHTS_ALONE}.get(type(first), PER_FRAME)


@dataclass(frozen=True)
class SchemeCost:
    """One scheme: how many layers have it, what rounding costs there, and time over that of their cheapest schemes, if known."""

    name: str
    layers: int
    nats: float
    time: float | None


def scheme_costs(layers: Sequence[LayerPlan]) -> list[SchemeCost]:
    """Of every scheme that an allocation gave some layer, the commonest first; what was not estimated counts nothing."""
    given: dict[str, list[OptionPlan]] = {}
    for option in (o for layer in layers for o in layer.options if o.chosen):
        given.setdefault(option.scheme, []).append(option)
    rows = [
        SchemeCost(
            name,
            len(some),
            sum(o.divergence or 0.0 for o in some),
            mean(times) if (times := [o.cost for o in some if o.cost]) else None,
        )
        for name, some in given.items()
    ]
    return sorted(rows, key=lambda row: -row.layers)


@dataclass(frozen=True)
class Line:
    """One activation of a layer in the table of all: what is known of it, empty where nothing is."""

    name: str
    scheme: str
    kind: str
    widths: str
    usual: str
    largest: str
    ratio: str
    points: str
    nats: str
    p: str


def lines(layers: Sequence[LayerPlan], histograms: Histograms) -> list[Line]:
    """Every activation in network order, with its range, scheme and cost."""
    found = []
    for layer in layers:
        name, chosen = scheme_name(layer), next((o for o in layer.options if o.chosen), None)
        observed = layer_ranges([layer], histograms)
        for number in range(max(1, len(observed), len(layer.activations))):
            row = observed[number] if number < len(observed) else None
            found.append(
                Line(
                    row.layer if row else layer.name,
                    name,
                    "float" if not layer.activations else KINDS.get(name, "static"),
                    widths(layer),
                    formats.figure(row.usual) if row else "",
                    formats.figure(row.largest) if row else "",
                    formats.figure(row.ratio, 2) if row else "",
                    "" if layer.sensitivity is None else formats.signed(layer.sensitivity),
                    "" if chosen is None or chosen.divergence is None else f"{chosen.divergence:.1e}",
                    "" if layer.p is None else f"{layer.p:g}",
                )
            )
    return found


def widths(layer: LayerPlan) -> str:
    """Widths of a layer's weight and activations, as in w8a8 or w4g32a8; empty where it is left in float."""
    weight = "" if layer.weight is None else f"w{layer.weight.bits}" + (f"g{g}" if (g := layer.weight.group) else "")
    return weight + "".join(f"a{bits}" for bits in dict.fromkeys(a.params().bits for a in layer.activations))


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
            for module, rows in groupby(members, key=lambda layer: formats.split_name(layer.name)[0])
        ]
        result.append((graph, groups))
    return result
