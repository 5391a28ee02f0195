"""Files of finished runs beside float32."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, known, markdown

HEAD = ["", "WER %", "against float", "95 % interval", "runaways", "speed", "rounds", "MB", "peak MB"]


def table(name: str) -> str:
    """Of bench/running.py, a table a model."""
    made = []
    for model, r in load_result(name)["models"].items():
        best = next(x["speedup_rounds"] for x in r["rows"] if x["speedup_vs_best_float"] == 1.0)
        rows = []
        for number, x in enumerate(r["rows"]):
            rounds = [a / b for a, b in zip(x["speedup_rounds"], best, strict=True)]
            rows.append(
                [
                    f"**{x['name']}**" if x["ours"] else x["name"],
                    f"{x['wer']:.2f}",
                    f"{x['delta']:+.2f}" if number else "",
                    interval(x["delta_interval"]) if number else "",
                    f"{x['runaways']}",
                    f"{x['speedup_vs_best_float']:.2f}",
                    f"{min(rounds):.2f} to {max(rounds):.2f}",
                    f"{x['bytes'] / 1e6:.0f}",
                    known(x["peak_rss_bytes"] and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
                ]
            )
        note = (
            f"{model}: {r['utterances']} recordings of {', '.join(r['data'])}, {r['words']} words. Speed end to end, best "
            f"float32 = 1: {r['timed']} recordings of all lengths one at a time, one thread, medians of {r['rounds']} rounds "
            f"in turns, and the ratio to the same baseline round by round; {cpu(r)}."
        )
        made.append(markdown([model, *HEAD[1:]], rows, note, f"`{r['command']}`"))
    return "\n\n".join(made)
