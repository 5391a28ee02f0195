"""Runs side by side: plans by layer, error rates with the interval of their difference, speed, bytes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.errors import SettingsError
from stablequant.quantize.plan import LayerPlan, Plan
from stablequant.report import formats
from stablequant.report.breakdowns import whisker
from stablequant.report.layers import scheme_name, widths
from stablequant.report.results import read_utterances, whole_summary
from stablequant.report.svg import Scale
from stablequant.report.tables import table
from stablequant.report.template import environment
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """What the runs in ``folders`` found, and what the others differ in from the first.

    Returns:
        ``runs``: one row a folder; ``differences``: of each other's error rate from the first's in points, with its interval by
        paired bootstrap where both were tested on the same speech; ``layers``: those whose plans differ, with what each
        run gave them (null where it has no such layer), and ``layers_alike``, how many others there are.

    Raises:
        SettingsError: There are fewer than two.
        PlanError: One has no plan: it is no run.
        DataError: Its summary or utterances are missing, damaged or of another version.
    """
    if len(folders) < 2:
        what = f"compare was given {len(folders)} folder"
        raise SettingsError(what, expected="two or more folders that quantize wrote")
    plans = [Plan.load(folder / "plan.json") for folder in folders]
    summaries = [whole_summary(folder) for folder in folders]
    scores = [_score(folder, summary) for folder, summary in zip(folders, summaries, strict=True)]
    by_name = [{layer.name: layer for layer in plan.layers} for plan in plans]
    rows = [_layer(name, by_name) for name in dict.fromkeys(itertools.chain(*by_name))]
    differing = [row for row in rows if any(run != row["runs"][0] for run in row["runs"])]
    return {
        "runs": [_run(*parts) for parts in zip(folders, plans, summaries, strict=True)],
        "differences": [
            {"folder": str(folder), "against": str(folders[0]), **_difference(scores[0], score, summaries[0], summary)}
            for folder, score, summary in list(zip(folders, scores, summaries, strict=True))[1:]
        ],
        "layers": differing,
        "layers_alike": len(rows) - len(differing),
    }


def _run(folder: Path, plan: Plan, summary: Mapping[str, Any]) -> dict[str, Any]:
    file, allocation = summary["int8_file"], summary["allocation"]
    return {
        "folder": str(folder),
        "model": summary["model"]["name"],
        "command": summary["command"],
        "metric": file["metric"],
        "float_rate": summary["float"]["rate"],
        "rate": file["rate"],
        "rate_interval": file["rate_interval"],
        "delta": file["delta"],
        "delta_interval": file["delta_interval"],
        "utterances": file["utterances"],
        "divergence": file.get("divergence", allocation and allocation["divergence"]),
        "bytes": file["bytes"],
        "bytes_ratio": file["bytes_ratio"],
        "speedup": file["speedup"],
        "runtime": file["runtime"],
        "cpu": summary["machine"]["cpu"],
        "seconds": round(sum(summary["seconds"].values()), 1),
        "widths": summary["widths"],
        "weight_bits": summary["weight_bits"],
        "schemes": dict(Counter(map(scheme_name, plan.layers))),
        "flagged": list(plan.flagged),
        "p": summary["p"],
    }


def _layer(name: str, plans: Sequence[Mapping[str, LayerPlan]]) -> dict[str, Any]:
    return {"layer": name, "runs": [_given(plan[name]) if name in plan else None for plan in plans]}


def _given(layer: LayerPlan) -> dict[str, Any]:
    return {"scheme": scheme_name(layer), "widths": widths(layer), "p": layer.p, "calibrator": layer.calibrator}


def _score(folder: Path, summary: Mapping[str, Any]) -> Score:
    """Errors of the exported file on each recording."""
    rows, metric = read_utterances(folder), summary["int8_file"]["metric"]
    ids, units = tuple(row["id"] for row in rows), tuple(row["units"] for row in rows)
    return Score(metric, ids, tuple(row["errors"]["int8_file"] for row in rows), units)


def _difference(base: Score, other: Score, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Points by which ``other`` errs more than ``base``; an interval where both are of the same recordings."""
    delta = round(second["int8_file"]["rate"] - first["int8_file"]["rate"], 4)
    if (base.metric, base.ids, base.units) != (other.metric, other.ids, other.units):
        return {"delta": delta, "interval": None, "note": "tested on other speech"}
    found = paired_bootstrap(base, other)
    return {"delta": round(found.delta, 4), "interval": [round(found.low, 4), round(found.high, 4)], "note": ""}


def named(result: Mapping[str, Any]) -> list[str]:
    """What the runs are called: their folders' names, or whole paths where two are alike."""
    paths = [run["folder"] for run in result["runs"]]
    short = [formats.short_name(path) for path in paths]
    return short if len(set(short)) == len(short) else paths


def figures(result: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Rows of figures, a cell a run."""
    runs, beside = result["runs"], [None, *result["differences"]]

    def against(row: Mapping[str, Any] | None) -> str:
        if row is None:
            return ""
        if row["interval"]:
            return _beyond(row["delta"], row["interval"])
        return f"{formats.signed(row['delta'])} ({row['note']})"

    schemes = dict.fromkeys(itertools.chain(*(r["schemes"] for r in runs)))
    rows = [
        ("error rate %", [f"{r['rate']:.2f} ({r['metric']})" for r in runs]),
        ("beyond the first (95 % interval)", [against(row) for row in beside]),
        (
            "beyond float32 (95 % interval)",
            [_beyond(r["delta"], r["delta_interval"]) for r in runs],
        ),
        ("nats a step", ["" if r["divergence"] is None else formats.figure(r["divergence"]) for r in runs]),
        ("bytes", [f"{formats.megabytes(r['bytes'])} ({r['bytes_ratio']:.3f})" for r in runs]),
        ("speed, float32 = 1", [f"{r['speedup']:.2f}x" for r in runs]),
        ("widths", [f"{r['widths']}, {r['weight_bits']:.3g} bits a weight" for r in runs]),
        *((f"layers {name}", [str(r["schemes"].get(name, 0)) for r in runs]) for name in schemes),
        ("p %", ["" if r["p"] is None else formats.p_text(r) for r in runs]),
        ("time to make", [formats.duration(r["seconds"]) for r in runs]),
    ]
    return [(name, cells) for name, cells in rows if any(cells)]


def _beyond(delta: float, ends: Sequence[float]) -> str:
    return f"{formats.signed(delta)} ({formats.interval(ends)})"


def cell(given: Mapping[str, Any] | None) -> str:
    """What a run gave one layer, in words."""
    if given is None:
        return "no such layer"
    p = "" if given["p"] is None else f", p {given['p']:g}"
    return f"{given['scheme']} {given['widths']}{p}"


def compared(result: Mapping[str, Any]) -> str:
    """The terminal's table."""
    names = named(result)
    top = table(["", *names], [[name, *cells] for name, cells in figures(result)])
    rows = [[row["layer"], *map(cell, row["runs"])] for row in result["layers"]]
    layers = table(["layers that differ", *names], rows) if rows else "no layer differs"
    return f"{top}\n\n{layers}\n{result['layers_alike']} layers alike; each speed was measured in its own run"


def page(result: Mapping[str, Any]) -> str:
    """One self-contained page."""
    names = named(result)
    known = [d for d in result["differences"] if d["interval"]]
    ends = [end for d in known for end in d["interval"]] or [0.0]
    scale = Scale(min(0.0, *ends), max(0.1, *ends), root=True)
    plots = {d["folder"]: whisker(d["delta"], d["interval"], scale, d["folder"]) for d in known}
    return (
        environment()
        .get_template("compare.html")
        .render(
            names=names,
            runs=result["runs"],
            figures=figures(result),
            plots=[plots.get(run["folder"], "") for run in result["runs"]] if plots else [],
            layers=[(row["layer"], [*map(cell, row["runs"])]) for row in result["layers"]],
            alike=result["layers_alike"],
        )
    )
