"""The files of large models against the simulation."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

HEAD = ["random weights", "GB", "seconds to load", "peak GB", "difference of logits", "limit", "same best output"]


def table(name: str) -> str:
    """Of the steps of bench/large_models.py that compare files."""
    r = load_result(name)
    rows, spoken = [], set()
    for model, found in r["models"].items():
        for step, x in found["steps"].items():
            if "difference" not in x:
                continue
            kind, runtime = step.split("-")
            spoken.add(f"{x['audio_seconds']:g}")
            rows.append(
                [
                    f"{model}, {kind}, {runtime}",
                    f"{x['bytes'] / 1e9:.2f}",
                    f"{x['load_seconds']:.1f}",
                    f"{x['peak_bytes'] / 1e9:.1f}",
                    f"{x['difference']:.1e}",
                    f"{x['limit']:.1e}",
                    f"{x['same_best']:.0%}",
                ]
            )
    note = (
        f"One recording of {' or '.join(sorted(spoken))} s. Difference: root mean square, as a share of that of the simulation's "
        f"logits; limit: what the check of `quantize` lets pass; {cpu(r)}."
    )
    return markdown(HEAD, rows, note, made_by(r))
