"""A head that the embedding reads too, rounded for the logits alone and for both."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, markdown

HEAD = [
    "thousandths of a nat a step",
    "the head alone",
    "less GPTQ without lookups",
    "all in W4A8",
    "less GPTQ without lookups",
]


def table(name: str) -> str:
    """Of bench/lookups.py."""
    s = load_result(name)
    rows, notes = [], []
    for model, found in s["models"].items():
        for r in found["rows"]:
            cells = [f"{model}, {r['name']}"]
            for kind in ("alone", "whole"):
                delta, low, high = (1000 * x for x in r[f"{kind}_difference"])
                same = r["name"] == "GPTQ, lookups 0"
                cells += [f"{1000 * r[kind]:.2f}", "" if same else f"{delta:+.2f} ({low:+.2f} to {high:+.2f})"]
            rows.append(cells)
        notes.append(
            f"{model}: {found['utterances']} dev utterances of {', '.join(found['data'])}, {found['steps']} steps"
        )
    commands = "; ".join(f"`{found['command']}`" for found in s["models"].values())
    return markdown(HEAD, rows, f"{'; '.join(notes)}. 95 % intervals of paired differences; {cpu(s)}.", commands)
