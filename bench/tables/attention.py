"""Attention's products in int8, or fused, beside float, a column a model and length."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/attention.py: speeds against float in the same runtime, with their range."""
    r = load_result(name)
    labels = dict.fromkeys((x["runtime"], x["form"]) for c in r["cases"] for x in c["rows"])
    cells = [
        {(x["runtime"], x["form"]): "{:.2f} ({:.2f} to {:.2f})".format(*x["speed"]) for x in c["rows"]}
        for c in r["cases"]
    ]
    rows = [[f"{runtime}, {form}", *(found[runtime, form] for found in cells)] for runtime, form in labels]
    head = ["", *(f"{c['model']}, {c['seconds']:g} s" for c in r["cases"])]
    note = (
        f"One layer between its projections; float in the same runtime = 1, medians and range of {r['rounds']} rounds in turns, "
        f"one thread; {' and '.join(r['runtimes'])}; {cpu(r)}."
    )
    return markdown(head, rows, note, made_by(r))
