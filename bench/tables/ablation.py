"""The choices that the paper leaves open."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import interval, made_by, markdown


def table(name: str) -> str:
    """Of bench/ablation.py."""
    r = load_result(name)
    rows = [
        [
            x["variant"],
            f"{x['p']:g}",
            f"{x['wer']:.2f}",
            f"{x['cer']:.2f}",
            f"{x['delta']:+.2f}",
            interval(x["delta_interval"]),
        ]
        for x in r["rows"]
    ]
    head = ["variant", "best p", "WER %", "CER %", "against float", "95 % interval"]
    first, flagged = r["rows"][0], ", ".join(f"`{n}`" for n in r["flagged"])
    note = f"Dev speech, {first['words']} words, float {first['float_wer']:.2f} %; flagged: {flagged}."
    return markdown(head, rows, note, made_by(r))
