"""What large models need to be quantised."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

#: Step -> its heading.
STEPS = {
    "load": "load",
    "observe": "observe",
    "fast": "`--recipe fast`",
    "export": "`export`",
    "moments": "default: moments",
    "round": "GPTQ",
    "estimate": "backward pass",
}


def table(name: str) -> str:
    """Peak memory of each step as a multiple of the float32 weights, without the libraries' part."""
    r = load_result(name)
    rows = []
    for model, found in r["models"].items():
        steps, whole = found["steps"], found["float_bytes"]
        if STEPS.keys().isdisjoint(steps):
            continue  # its files alone were measured
        idle = steps.get("idle", {}).get("peak_bytes", 0)
        cells = []
        for step in STEPS:
            taken = steps.get(step, {}).get("peak_bytes")
            cells.append(f"{taken / 1e9:.1f} GB, {(taken - idle) / whole:.2f}" if taken else "not run")
        rows.append([model, f"{found['parameters'] / 1e6:.0f} M", f"{whole / 1e9:.2f}", *cells])
    idle = [s["idle"]["peak_bytes"] for s in (m["steps"] for m in r["models"].values()) if "idle" in s]
    note = (
        "Peak resident memory of the process, and what of it a model adds as a multiple of its float32 weights: "
        f"Python and its libraries take {max(idle, default=0) / 1e9:.2f} GB before one is loaded. "
        f"Recordings of each split: {_counts(r)}; {cpu(r)}."
    )
    return markdown(["random weights", "parameters", "float32, GB", *STEPS.values()], rows, note, made_by(r))


def _counts(result: dict[str, Any]) -> str:
    """On how many recordings of each split the steps were measured."""
    counts = {step["recordings"] for model in result["models"].values() for step in model["steps"].values()}
    return " or ".join(map(str, sorted(counts)))
