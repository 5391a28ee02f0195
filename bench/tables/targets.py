"""What each width was to lose at most, and what the recipe and others lose there on all test speech; a table a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

#: Points of error rate against float.
TARGETS: Mapping[str, float] = {"w8a8": 0.1, "w6a6": 0.3, "w5a8": 0.3, "w4a8": 0.5, "w4a4": 5.0}
#: Whose loss is held against them; it comes first.
OURS = "the recipe default"


def table(name: str) -> str:
    """Of bench/methods_table.py with all test speech."""
    return "\n\n".join(_model(model, found) for model, found in load_result(name)["models"].items())


def _model(model: str, found: dict[str, Any]) -> str:
    by_place = {(r["method"], r["bits"]): r for r in found["rows"]}
    methods = sorted(dict.fromkeys(r["method"] for r in found["rows"]), key=lambda method: method != OURS)
    rows = [
        [bits, f"{most:g}", _judged(ours, most), *(_cell(by_place.get((method, bits))) for method in methods)]
        for bits, most in TARGETS.items()
        if (ours := by_place.get((OURS, bits)))
    ]
    note = (
        f"{model}: {found['words']} test words of {', '.join(found['data'])}, float {found['float']:.2f} %; points lost against "
        "float, 95 % interval, in simulation. Open: the interval holds both the target and what is above it; *: broken, and "
        f"measured on {found['broken']['utterances']} utterances alone; {cpu(found)}."
    )
    return markdown([model, "at most", "", *methods], rows, note, made_by(found))


def _judged(r: dict[str, Any], most: float) -> str:
    """Met where chance is left out too, missed beyond it, else open, with the side that the figure itself is on."""
    low, high = r["delta_interval"]
    if high <= most:
        return "met"
    if low > most:
        return "missed"
    return "met, open" if r["delta"] <= most else "missed, open"


def _cell(r: dict[str, Any] | None) -> str:
    if r is None:
        return ""
    low, high = r["delta_interval"]
    return f"{r['delta']:+.2f} ({low:+.2f} to {high:+.2f}){'*' if 'utterances' in r else ''}"
