"""A plan in int8 on a GPU beside float32 and bfloat16 of the same graph in PyTorch."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import made_by, markdown


def table(name: str) -> str:
    """Of bench/gpu.py."""
    s = load_result(name)
    rows = []
    for r in s["rows"]:
        ms = r["milliseconds"]
        times = [f"{ms[way]:.1f}" for way in ("float32", "bfloat16", "int8")]
        rows.append([f"{r['batch']} x {r['seconds']:g} s", *times, f"{ms['float32'] / ms['int8']:.2f}"])
    head = ["batch", "float32, ms", "bfloat16, ms", "int8, ms", "int8 over float32"]
    note = f"{s['model']}, {s['card']}, medians of {s['rounds']} rounds in turns."
    return markdown(head, rows, note, made_by(s))
