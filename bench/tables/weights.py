"""Ways to make integer weights, a row a model and way."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/weights.py."""
    s = load_result(name)
    rows, notes = [], []
    for model, found in s["models"].items():
        for r in found["rows"]:
            width = f"{r['bits']} bits" + (f" by {r['group']}" if r["group"] else "")
            low, high = (1000 * end for end in r["difference_interval"])
            compared = f"{1000 * r['difference']:+.2f} ({low:+.2f} to {high:+.2f})" if r["way"] != "nearest" else ""
            rows.append(
                [
                    f"{model}, {width}, {r['way']}",
                    f"{1000 * r['divergence']:.2f} ± {1000 * r['standard_error']:.2f}",
                    compared,
                    f"{r['seconds']:.1f}",
                ]
            )
        notes.append(
            f"{model}: {found['utterances']} dev utterances of {', '.join(found['data'])}, {found['steps']} steps; moments of "
            f"{found['calibration_utterances']} utterances ({found['calibration_seconds']:.0f} s of speech) in "
            f"{found['moments_seconds']:.0f} s"
        )
    head = ["thousandths of a nat a step", "divergence ± standard error", "less nearest (95 % interval)", "seconds"]
    note = f"{'; '.join(notes)}. Seconds to make all weights, one thread, on a machine with other work; {cpu(s)}."
    commands = {found["command"]: found for found in s["models"].values()}
    return markdown(head, rows, note, made_by(*commands.values()))
