"""Ours beside other ways to int8."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, known, made_by, markdown

HEAD = ["", "WER %", "95 % interval", "speed", "MB", "peak MB", "minutes to quantise", "weights left in float"]


def table(name: str) -> str:
    """Of bench/compare_peers.py."""
    r = load_result(name)
    rows = [
        [
            f"**{x['name']}**" if x["ours"] else x["name"],
            f"{x['wer']:.2f}",
            "{:.2f} to {:.2f}".format(*x["wer_interval"]),
            known(x.get("speedup_vs_best_float"), "{:.2f}") + _range(x),
            f"{x['bytes'] / 1e6:.0f}",
            known(x["peak_rss_bytes"] and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
            known(x["quantise_seconds"] and x["quantise_seconds"] / 60, "{:.1f}"),
            known(x["float_ops"], "{}"),
        ]
        for x in r["rows"]
    ]
    rows += [[f"{name}: {why}", *[""] * (len(HEAD) - 1)] for name, why in (r.get("failed") or r["left_out"]).items()]
    note = (
        f"{r['model']}, {r['utterances']} recordings, {r['words']} words; best float32 = 1, one recording at a time, one thread, "
        f"medians (least to most) of {r['rounds']} rounds in turns; {cpu(r)}."
    )
    return markdown(HEAD, rows, note, made_by(r))


def _range(row: dict[str, Any]) -> str:
    """The least and the most of a row's rounds; nothing where rounds were not kept."""
    ends = row.get("speedup_range")
    return f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
