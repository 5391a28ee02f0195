"""Gamma, the step of p, its spacing, and one p a layer."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import interval, known, made_by, markdown

HEAD = ["variant", "flagged", "p tried", "float evaluations", "p", "dev WER %", "test WER %", "against float"]


def table(name: str) -> str:
    """Of bench/search_ablation.py."""
    r = load_result(name)
    rows = [
        [
            x["variant"],
            str(x["flagged"]),
            str(x["tried"]),
            f"{x['evaluations']:.1f}",
            ", ".join(f"{p:g}" for p in x["p"]) or "none",
            known(x["dev_wer"], "{:.2f}"),
            f"{x['test_wer']:.2f}",
            f"{x['delta']:+.2f}",
            interval(x["delta_interval"]),
        ]
        for x in r["rows"]
    ]
    note = (
        f"Dev: {r['dev_words']} words, float {r['dev_float_wer']:.2f} %; test: {r['test_words']} words, float "
        f"{r['test_float_wer']:.2f} %; exact search unless a row names racing."
    )
    return markdown([*HEAD, "95 % interval"], rows, note, made_by(r))
