"""Speeds of models of usual sizes beside every float backend and other ways to int8, a column a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/sizes.py."""
    r = load_result(name)
    labels = dict.fromkeys(x["name"] for m in r["models"] for x in m["systems"])
    columns = [{x["name"]: shown(x) for x in m["systems"]} for m in r["models"]]
    rows = [[f"**{n}**" if n.startswith("int8") else n, *(c.get(n, "") for c in columns)] for n in labels]
    head = ["", *(f"{m['model']}, {m['threads']} thread{'s' * (m['threads'] > 1)}" for m in r["models"])]
    steps = max(m.get("steps", 0) for m in r["models"])
    decoded = f", {steps} decoder steps" if steps else ""
    note = (
        f"Random weights, {r['seconds']:g} s of audio{decoded}; best float32 = 1, medians of {r['rounds']} rounds in turns; "
        f"{cpu(r)}."
    )
    wrong = [f"{m['model']}, {x['name']} ({x['wrong']})" for m in r["models"] for x in m["systems"] if "wrong" in x]
    if wrong:
        note += f" Wrong: the output has nothing to do with float's: {'; '.join(wrong)}."
    return markdown(head, rows, note, made_by(r))


def shown(system: Mapping[str, Any]) -> str:
    """A speed, and how far the output is from float's as a share of it."""
    speed, difference = f"{system['speedup']:.2f}", system.get("difference")
    if "wrong" in system:
        return f"{speed}, wrong"
    return speed if not difference else f"{speed}, {difference:.0%} off"
