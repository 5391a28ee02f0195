"""Speeds of models of usual sizes beside every float backend and other ways to int8, a column a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/sizes.py: FILE, or of some of its models FILE/MODEL,MODEL."""
    r, models = models_of(name)
    labels = dict.fromkeys(x["name"] for m in models for x in m["systems"])
    columns = [{x["name"]: shown(x) for x in m["systems"]} for m in models]
    rows = [[f"**{n}**" if n.startswith("int8") else n, *(c.get(n, "") for c in columns)] for n in labels]
    head = ["", *(f"{m['model']}, {m['threads']} thread{'s' * (m['threads'] > 1)}" for m in models)]
    steps = max(m.get("steps", 0) for m in models)
    decoded = f", {steps} decoder steps" if steps else ""
    note = (
        f"Random weights, {r['seconds']:g} s of audio{decoded}; best float32 = 1, medians of {r['rounds']} rounds in turns; "
        f"{cpu(r)}."
    )
    wrong = [f"{m['model']}, {x['name']} ({x['wrong']})" for m in models for x in m["systems"] if "wrong" in x]
    if wrong:
        note += f" Wrong: the output has nothing to do with float's: {'; '.join(wrong)}."
    return markdown(head, rows, note, made_by(r))


def models_of(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A file of bench/results, and all its models or those that stand behind a slash."""
    file, _, wanted = name.partition("/")
    r = load_result(file)
    return r, [m for m in r["models"] if not wanted or m["model"].split(",")[0] in wanted.split(",")]


def shown(system: Mapping[str, Any]) -> str:
    """A speed, and how far the output is from float's as a share of it."""
    speed, difference = f"{system['speedup']:.2f}", system.get("difference")
    if "wrong" in system:
        return f"{speed}, wrong"
    return speed if not difference else f"{speed}, {difference:.0%} off"
