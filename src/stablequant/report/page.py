"""report.html: a run on one page that needs nothing but itself.

The template is rendered with autoescaping on, and plots escape what they are given: whatever a layer, a file or a
recording is called, it stays text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stablequant.export.agreement import LEVEL
from stablequant.quantize.plan import LayerPlan
from stablequant.quantize.plan_grids import ActivationPlan
from stablequant.report import clipped, drift, formats, plots
from stablequant.report.breakdowns import buckets, conditions, edges
from stablequant.report.budgets import frontier
from stablequant.report.layers import lines, nats_scale, scheme_costs, schemes, sensitivity
from stablequant.report.material import Material
from stablequant.report.ranges import layer_ranges, ranges, widest
from stablequant.report.regressions import regressions, with_players
from stablequant.report.template import environment
from stablequant.settings import Settings

#: Methods that stand out.
OURS = ("stablequant", "int8_file")


@dataclass(frozen=True)
class Activation:
    """One flagged layer's input: its histogram and the figures beside it."""

    title: str
    plot: Markup
    grid: ActivationPlan
    low: float
    high: float
    clipped: float
    """Per cent of the values that lie beyond the grid."""
    count: int
    finer: float
    """How many times finer the grid is than one that reaches the largest value."""


@dataclass(frozen=True)
class Curve:
    """One series of stage 2's trials: whose p moved, which won, and the plot."""

    title: str
    chosen: float
    trials: int
    plot: Markup


#: Bytes of the page at most; recordings to hear are left out to keep to it.
MOST_BYTES = 5_000_000
#: Histograms of layers that nobody flagged, where none is: those whose range is widest.
MOST_HISTOGRAMS = 6


def page(material: Material) -> str:
    """The page, of at most `MOST_BYTES` unless the layers alone take more."""
    template, values = environment().get_template("page.html"), _values(material)
    found = regressions(material)
    silent = template.render(**values, regressions=found)
    room = MOST_BYTES - len(silent.encode()) - 100 * len(found)
    return template.render(**values, regressions=with_players(found, material, room)) if found else silent


def _values(material: Material) -> dict[str, Any]:
    """What the template shows, but for the regressions."""
    plan, summary = material.plan, material.summary
    nats = plan.settings.search.objective == "divergence"
    defaults = Settings().flat()
    settings = {name: (value, value == defaults[name]) for name, value in plan.settings.flat().items()}
    observed = layer_ranges(plan.layers, material.histograms)
    flagged = [layer for layer in plan.layers if layer.flagged and layer.activations]
    results = material.results
    return {
        "s": summary,
        "plan": plan,
        "words": formats,
        "bare": summary["data"]["references"] == "float32",
        "nats": nats,
        "graphs": len({layer.graph for layer in plan.layers}),
        "title": formats.short_name(summary["model"]["name"]),
        "verdict": formats.verdict(summary),
        "methods": [(formats.method(name, rates), rates, name not in OURS) for name, rates in _compared(summary)],
        "intervals": _intervals(summary),
        "sensitivity": sensitivity(plan.layers, plan.settings.search.gamma),
        "schemes": schemes(plan.layers) if summary["allocation"] else [],
        "costs": scheme_costs(plan.layers),
        "frontier": _frontier(summary),
        "axis": nats_scale(plan.layers),
        "worst": max(plan.layers, key=lambda layer: layer.sensitivity or 0.0),
        "ranges": ranges(observed) if observed else "",
        "widest": widest(observed) if observed else None,
        "lines": lines(plan.layers, material.histograms),
        "flagged": bool(flagged),
        "drawn": [(layer, _activations(material, layer)) for layer in flagged or _widest_static(material)],
        "curves": [_curve(curve, nats=nats) for curve in summary["p_curves"]],
        "judged": "estimated points above float32" if nats else f"{summary['float']['metric']} %",
        "frames": _of_kind(plan.layers, "per_frame"),
        "blocks": _of_kind(plan.layers, "per_block"),
        "check_level": f"{100 * LEVEL:g}",
        "settings": settings,
        "total_seconds": sum(summary["seconds"].values()),
        "buckets": buckets(summary),
        "edges": edges(summary),
        "evaluated": results.get("evaluate"),
        "conditions": conditions(results["evaluate"]["conditions"]) if "evaluate" in results else [],
        "clipped": _told(results.get("clipped"), clipped.verdict, clipped.HEADS, clipped.rows),
        "drift": _told(results.get("drift"), drift.verdict, drift.HEADS.values(), drift.rows),
    }


def _frontier(summary: Mapping[str, Any]) -> Markup | None:
    """What other budgets would have given; none was asked for where there is no choice of widths."""
    found = (summary["allocation"] or {}).get("budgets")
    return frontier(found) if found else None


def _told(
    result: Mapping[str, Any] | None,
    verdict: Callable[[dict[str, Any]], str],
    heads: Iterable[str],
    rows: Callable[[dict[str, Any]], list[list[str]]],
) -> dict[str, Any] | None:
    """What another command found: its sentence, and a table."""
    if result is None:
        return None
    found = dict(result)
    return {"verdict": verdict(found), "heads": list(heads), "rows": rows(found), "result": found}


def _widest_static(material: Material) -> list[LayerPlan]:
    """Layers with one calibrated grid whose inputs' range is widest, in network order."""
    static = [
        layer
        for layer in material.plan.layers
        if layer.name in material.histograms and any(isinstance(a, ActivationPlan) for a in layer.activations)
    ]
    reach = {x.name: widest(layer_ranges([x], material.histograms)).ratio for x in static}
    most = sorted(reach, key=lambda name: -reach[name])[:MOST_HISTOGRAMS]
    return [layer for layer in static if layer.name in most]


def _of_kind(layers: Sequence[LayerPlan], kind: str) -> int:
    return sum(any(a.kind == kind for a in layer.activations) for layer in layers)


def _compared(summary: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [*summary["methods"].items(), ("int8_file", summary["int8_file"])]


def _intervals(summary: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        plots.Estimate(
            formats.METHODS.get(name, name),
            rates["delta"],
            rates["delta_interval"][0],
            rates["delta_interval"][1],
            strong=name in OURS,
        )
        for name, rates in _compared(summary)
    ]
    return {"names": [row.name for row in rows], "plot": plots.intervals(rows)}


def _activations(material: Material, layer: LayerPlan) -> list[Activation]:
    found = []
    pairs = zip(layer.activations, material.histograms.get(layer.name, ()), strict=False)
    for number, (grid, histogram) in enumerate(pairs, 1):
        if not isinstance(grid, ActivationPlan):
            continue  # it has no one grid to draw
        bins, ends = histogram.nonempty(), grid.params().range
        reach = max(abs(grid.minimum), abs(grid.maximum)) / max(abs(ends.low), abs(ends.high))
        found.append(
            Activation(
                title=f"input {number}" if len(layer.activations) > 1 else "input",
                plot=plots.histogram(bins, ends),
                grid=grid,
                low=ends.low,
                high=ends.high,
                clipped=100 * plots.clipped_share(bins, grid.params().unclipped),
                count=histogram.count,
                finer=reach,
            )
        )
    return found


def _curve(found: Mapping[str, Any], *, nats: bool) -> Curve:
    name, trials = found["layer"], found["trials"]
    told = {"name": "estimated cost", "unit": "points"} if nats else {}
    plot = plots.p_curve(
        [(t["p"], t["rate"]) for t in trials],
        found["float"],
        found["chosen"],
        140 if name else 220,
        band=[(t["p"], *t["interval"]) for t in trials if t["interval"]],
        **told,
    )
    return Curve(name or "one p for all flagged layers", found["chosen"], len(trials), plot)
