"""Evolved scales beside those that they were evolved from."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/evolution.py."""
    s = load_result(name)
    rows = []
    for r in s["rows"]:
        low, high = (1000 * end for end in r["difference_interval"])
        compared = f"{1000 * r['difference']:+.2f} ({low:+.2f} to {high:+.2f})" if r["scheme"] != "mse" else ""
        factors = "{:.2f} to {:.2f}".format(*r["factors"]) if r["factors"] else ""
        counts = [str(r[key] or "") for key in ("layers", "evaluations")]
        rows.append([r["scheme"], f"{1000 * r['seen']:.2f}", f"{1000 * r['other']:.2f}", compared, *counts, factors])
    head = ["thousandths of a nat a step", "speech it was evolved on", "other speech", "less mse there (95 % interval)"]
    note = (
        f"{s['model']}: {s['utterances']} dev utterances of {', '.join(s['data'])} to evolve on ({s['steps'][0]} steps), as many "
        f"others ({s['steps'][1]} steps); the paper's rules flag {s['flagged']} layers; {cpu(s)}."
    )
    return markdown([*head, "layers", "evaluations", "factors"], rows, note, made_by(s))
