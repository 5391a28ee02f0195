"""What the table of all methods says of "matches QAT without training": a row a model and width that its rows support."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from stablequant.widths import WIDTHS
from tables.markdown import interval, markdown

#: The method without training that a trained model is set beside.
OURS = "the recipe default"


def table(name: str) -> str:
    """Of bench/methods_table.py."""
    models = load_result(name)["models"]
    rows = [row for model, found in models.items() for row in _of(model, found)]
    silent = [model for model, found in models.items() if not _of(model, found)]
    head = [
        "",
        "points, the recipe without training",
        "points, trained for it",
        "nats a step",
        "training",
        "by their words",
    ]
    note = f"Of {', '.join(silent)} no model that was trained for a width has been measured." if silent else ""
    return "\n\n".join([*([markdown(head, rows)] if rows else []), *([note] if note else [])])


def _of(model: str, found: dict[str, Any]) -> list[list[str]]:
    """Each width that a trained model was measured at."""
    rows = []
    for bits in WIDTHS:
        here = [r for r in found["rows"] if r["bits"] == bits]
        ours = next((r for r in here if r["method"] == OURS), None)
        rows += [_compared(f"{model}, {bits}", ours, r) for r in here if r["training"] and ours]
    return rows


def _compared(place: str, ours: dict[str, Any], trained: dict[str, Any]) -> list[str]:
    """Which of the two loses less, beyond chance or not: intervals apart are beyond it."""
    (low, high), (least, most) = ours["delta_interval"], trained["delta_interval"]
    verdict = "the recipe" if high < least else "training" if most < low else "not told apart"
    words = [f"{r['delta']:+.2f} ({interval(r['delta_interval'])})" for r in (ours, trained)]
    return [place, *words, f"{_nats(ours)} and {_nats(trained)}", _by(trained), verdict]


def _by(r: dict[str, Any]) -> str:
    """How it was trained, where that is known."""
    took = r.get("trained")
    return f"{took['steps']} steps on {took['seconds']:.0f} s of speech, {took['minutes']:.0f} minutes" if took else ""


def _nats(r: dict[str, Any]) -> str:
    return "not finite" if r["divergence"] is None else f"{r['divergence']:.2g}"
