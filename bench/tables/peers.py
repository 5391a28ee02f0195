"""Ours beside other ways to int8."""

from __future__ import annotations

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
            f"{x['speedup_vs_best_float']:.2f}",
            f"{x['bytes'] / 1e6:.0f}",
            known(x["peak_rss_bytes"] and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
            known(x["quantise_seconds"] and x["quantise_seconds"] / 60, "{:.1f}"),
            known(x["float_ops"], "{}"),
        ]
        for x in r["rows"]
    ]
    note = (
        f"{r['model']}, {r['utterances']} recordings, {r['words']} words; best float32 = 1, one recording at a time, one thread, "
        f"medians of {r['rounds']} rounds in turns; {cpu(r)}."
    )
    if r["left_out"]:
        note += " Left out: " + "; ".join(f"{n} ({why})" for n, why in r["left_out"].items()) + "."
    return markdown(HEAD, rows, note, made_by(r))
