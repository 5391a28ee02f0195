"""Trials stacked in the batch dimension."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/batched_trials.py."""
    r = load_result(name)
    rows = [
        [f"{x['model']}, {x['utterances']} of {x['seconds']} s", f"{x['speedup']:.2f}", "yes" if x["equal"] else "no"]
        for x in r["rows"]
    ]
    head = [f"batch, {r['trials']} trials", "speed against one by one", "same to the last bit"]
    return markdown(head, rows, f"One thread, medians of {r['rounds']} rounds in turns; {cpu(r)}.", made_by(r))
