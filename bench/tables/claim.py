"""What the table of all methods says of "matches QAT without training": a sentence a model, that its rows support."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from stablequant.widths import WIDTHS
from tables.markdown import interval

#: The method without training that a trained model is set beside.
OURS = "the recipe default"


def table(name: str) -> str:
    """Of bench/methods_table.py."""
    return "\n".join(f"- **{model}**: {_of(found)}" for model, found in load_result(name)["models"].items())


def _of(found: dict[str, Any]) -> str:
    """Of each width that a trained model was measured at; or what is missing."""
    said = []
    for bits in WIDTHS:
        rows = [r for r in found["rows"] if r["bits"] == bits]
        ours = next((r for r in rows if r["method"] == OURS), None)
        said += [_compared(bits, ours, r) for r in rows if r["training"] and ours]
    if said:
        return " ".join(said)
    return "no model that was trained for a width has been measured here yet, so the table says nothing of it."


def _compared(bits: str, ours: dict[str, Any], trained: dict[str, Any]) -> str:
    """Which of the two loses less, beyond chance or not: intervals apart are beyond it."""
    (low, high), (least, most) = ours["delta_interval"], trained["delta_interval"]
    apart = high < least or most < low
    words = " and ".join(
        f"{name} {r['delta']:+.2f} points ({interval(r['delta_interval'])}) and {_nats(r)}"
        for name, r in (("the recipe without training", ours), (f"`{trained['method']}`{_by(trained)}", trained))
    )
    judged = (
        ("the recipe is ahead" if high < least else "training is ahead")
        if apart
        else "these words do not tell them apart"
    )
    return f"At {bits} {words}: {judged}."


def _by(r: dict[str, Any]) -> str:
    """How it was trained, where that is known."""
    took = r.get("trained")
    return (
        f", {took['steps']} steps on {took['seconds']:.0f} s of speech in {took['minutes']:.0f} minutes,"
        if took
        else ""
    )


def _nats(r: dict[str, Any]) -> str:
    return "no finite divergence" if r["divergence"] is None else f"{r['divergence']:.2g} nats a step"
