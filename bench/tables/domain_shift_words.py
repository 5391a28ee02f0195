"""What was calibrated on clean speech, elsewhere: words, and the p that would be found there."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.domain_shift import SCHEMES
from tables.markdown import cpu, interval, markdown


def table(name: str) -> str:
    """Of bench/domain_shift.py."""
    parts = []
    for model, found in load_result(name)["models"].items():
        rows, names = found["conditions"], [name for name, *_ in SCHEMES.values()]
        if said := [_points(c, r) for c, r in rows.items() if "words" in r]:
            head = ["", "words", "float, WER %", *names]
            parts += [
                f"**{model}**, points of word error rate beside float, with the 95 % interval:",
                markdown(head, said),
            ]
        if searched := [_p(c, r) for c, r in rows.items() if "p_opt" in r]:
            head = [
                "p searched on",
                "utterances",
                "p",
                "95 % interval",
                f"nats that p = {found['p_clean']:g} costs more",
                "interval",
            ]
            tried = ", ".join(f"{p:g}" for p in found["p_values"])
            parts += [
                f"Values of p tried: {tried}; on clean speech {found['p_clean']:g} is best. Flagged: "
                f"{', '.join(found['flagged'])}.",
                markdown(head, searched),
            ]
        parts.append(f"{cpu(found)}.")
    return "\n\n".join(parts)


def _points(condition: str, row: dict[str, Any]) -> list[str]:
    cells = [row["schemes"][s] for s in SCHEMES]
    found = [f"{c['delta']:+.2f} ({interval(c['delta_interval'])})" for c in cells]
    return [condition, str(row["words"]), f"{row['float']:.2f}", *found]


def _p(condition: str, row: dict[str, Any]) -> list[str]:
    low, high = row["p_interval"]
    ends = "{:.4f} to {:.4f}".format(*row["regret_interval"])
    return [
        condition,
        str(row["p_utterances"]),
        f"{row['p_opt']:g}",
        f"{low:g} to {high:g}",
        f"{row['regret']:.4f}",
        ends,
    ]
