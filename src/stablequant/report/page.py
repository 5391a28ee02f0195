"""report.html: a run on one page that needs nothing but itself.

The template is rendered with autoescaping on, and plots escape what they are given: whatever a layer, a file or a
recording is called, it stays text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stablequant.export.agreement import LEVEL
from stablequant.jobs.evidence import Evidence
from stablequant.quantize.plan import LayerPlan
from stablequant.quantize.plan_grids import ActivationPlan
from stablequant.report import formats, plots
from stablequant.report.layers import nats_scale, schemes, sensitivity
from stablequant.report.template import environment
from stablequant.search.objective import POINTS_A_NAT
from stablequant.search.stage2 import Trial, choose
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


def page(evidence: Evidence, summary: dict[str, Any]) -> str:
    """The page, from what a run found and its summary."""
    plan = evidence.plan
    nats = plan.settings.search.objective == "divergence"
    defaults = Settings().flat()
    settings = {name: (value, value == defaults[name]) for name, value in plan.settings.flat().items()}
    return (
        environment()
        .get_template("page.html")
        .render(
            s=summary,
            plan=plan,
            words=formats,
            bare=summary["data"]["references"] == "float32",
            nats=nats,
            graphs=len(evidence.model.graphs),
            title=formats.short_name(summary["model"]["name"]),
            verdict=formats.verdict(summary),
            methods=[(formats.method(name, rates), rates, name not in OURS) for name, rates in _compared(summary)],
            intervals=_intervals(summary),
            sensitivity=sensitivity(plan.layers, plan.settings.search.gamma),
            schemes=schemes(plan.layers) if evidence.search.allocation else [],
            allocation=evidence.search.allocation,
            axis=nats_scale(plan.layers),
            worst=max(plan.layers, key=lambda layer: layer.sensitivity or 0.0),
            flagged=[
                (layer, _activations(evidence, layer)) for layer in plan.layers if layer.flagged and layer.activations
            ],
            curves=curves(evidence),
            judged="estimated points above float32" if nats else f"{summary['float']['metric']} %",
            agreements=evidence.agreements,
            frames=_of_kind(plan.layers, "per_frame"),
            blocks=_of_kind(plan.layers, "per_block"),
            check_level=f"{100 * LEVEL:g}",
            settings=settings,
            total_seconds=sum(summary["seconds"].values()),
        )
    )


def _of_kind(layers: Sequence[LayerPlan], kind: str) -> int:
    return sum(any(a.kind == kind for a in layer.activations) for layer in layers)


def _compared(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [*summary["methods"].items(), ("int8_file", summary["int8_file"])]


def _intervals(summary: dict[str, Any]) -> dict[str, Any]:
    rows = [
        plots.Estimate(
            formats.method(name, rates),
            rates["delta"],
            rates["delta_interval"][0],
            rates["delta_interval"][1],
            strong=name in OURS,
        )
        for name, rates in _compared(summary)
    ]
    return {"names": [row.name for row in rows], "plot": plots.intervals(rows)}


def _activations(evidence: Evidence, layer: LayerPlan) -> list[Activation]:
    found = []
    pairs = zip(layer.activations, evidence.histograms[layer.name], strict=True)
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
                clipped=100 * plots.clipped_share(bins, ends),
                count=histogram.count,
                finer=reach,
            )
        )
    return found


def curves(evidence: Evidence) -> list[Curve]:
    """Stage 2's trials as curves: one p for all, then each layer's own where that was searched."""
    found = []
    for number, series in enumerate(evidence.search.stage2.series):
        name = _moved(series) if number else None
        if number and name is None:
            continue
        found.append(_curve(evidence, series, name))
    return found


def _moved(series: Sequence[Trial]) -> str | None:
    """The layer whose p differs within ``series``; ``None`` if none does."""
    return next((name for name in series[0].p if len({trial.p[name] for trial in series}) > 1), None)


def _curve(evidence: Evidence, series: Sequence[Trial], name: str | None) -> Curve:
    def value(trial: Trial) -> float:
        return trial.p[name] if name else next(iter(trial.p.values()))

    chosen = value(choose(series))
    # A divergence is drawn in the points that it stands for.
    nats = evidence.plan.settings.search.objective == "divergence"
    points = POINTS_A_NAT if nats else 1.0
    reference = points * evidence.search.reference.score.rate
    told = {"name": "estimated cost", "unit": "points"} if nats else {}
    tried = [(value(t), points * t.rate) for t in series]
    plot = plots.p_curve(tried, reference, chosen, 140 if name else 220, **told)
    return Curve(name or "one p for all flagged layers", chosen, len(series), plot)
