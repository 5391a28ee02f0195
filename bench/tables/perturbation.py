"""What a change too small to hear does."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, made_by, markdown


def table(name: str) -> str:
    """Of bench/perturbation.py."""
    r = load_result(name)
    rows = [
        [
            x["name"],
            f"{x['wer']:.2f}",
            f"{x['wer_difference']:+.2f}",
            interval(x["wer_difference_interval"]),
            f"{x['transcripts_identical']:.0%}",
            f"{x['output_change']:.1%}" if x["output_change"] > 1e-3 else f"{x['output_change']:.0e}",
        ]
        for x in r["rows"]
    ]
    head = ["", "WER %", "moves by", "95 % interval", "transcripts identical", "encoder's output moves by"]
    note = f"{r['utterances']} utterances, {r['words']} words; {cpu(r)}."
    return markdown(head, rows, note, made_by(r))
