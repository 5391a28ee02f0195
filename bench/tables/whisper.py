"""Whisper in int8, ours and others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from result_path import load_result

from tables.markdown import cpu, interval, known, made_by, markdown

HEAD = ["", "WER %", "against float", "95 % interval", "runaways", "speed", "rounds", "MB", "peak MB"]


def lines(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each row of `peers.measured`, the first without a difference: all others' is to it."""
    best = next(x["speedup_rounds"] for x in found if x["speedup_vs_best_float"] == 1.0)
    rounds = [[a / b for a, b in zip(x["speedup_rounds"], best, strict=True)] for x in found]
    return [
        [
            f"**{x['name']}**" if x["ours"] else x["name"],
            f"{x['wer']:.2f}",
            f"{x['delta']:+.2f}" if number else "",
            interval(x["delta_interval"]) if number else "",
            known(x.get("runaways"), "{}"),
            f"{x['speedup_vs_best_float']:.2f}",
            f"{min(rounds[number]):.2f} to {max(rounds[number]):.2f}",
            f"{x['bytes'] / 1e6:.0f}",
            known(x["peak_rss_bytes"] and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
        ]
        for number, x in enumerate(found)
    ]


def table(name: str) -> str:
    """Of bench/whisper.py."""
    r = load_result(name)
    note = (
        f"{r['model']}, {r['utterances']} recordings, {r['words']} words; calibrated on {r['calibration']} others. "
        f"Speed end to end, best float32 = 1: {r['timed']} recordings of all lengths one at a time, one thread, "
        f"medians of {r['rounds']} rounds in turns, and the ratio to the same baseline round by round; {cpu(r)}."
    )
    if "equal_tokens" in r:
        equal = f"{r['equal_tokens']} of {r['utterances']}"
        note += f" Tokens of float32 are those of transformers' `generate` in {equal} recordings."
    if r["left_out"]:
        note += " Left out: " + "; ".join(f"{n} ({why})" for n, why in r["left_out"].items()) + "."
    return markdown(HEAD, lines(r["rows"]), note, made_by(r))
