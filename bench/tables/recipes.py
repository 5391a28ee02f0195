"""Recipes side by side, a row a model and recipe."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, made_by, markdown


def table(name: str) -> str:
    """Of bench/recipes.py."""
    s = load_result(name)
    rows, notes = [], []
    for model, found in s["models"].items():
        for recipe, r in found["recipes"].items():
            rows.append(
                [
                    f"{model}, {recipe}",
                    f"{r['delta']:+.2f}",
                    interval(r["delta_interval"]),
                    f"{r['file_delta']:+.2f}",
                    interval(r["file_delta_interval"]),
                    f"{100 * r['identical']:.0f}%",
                    f"{r['evaluations']:.0f}",
                    f"{r['seconds'] / 60:.1f}",
                    f"{r['speedup']:.2f}",
                    f"{r['single_code_ops']} of {r['ops']}",
                ]
            )
        r = next(iter(found["recipes"].values()))
        notes.append(f"{model}: {r['words']} test words of {', '.join(found['sources'])}, float {r['float']:.2f} %")
    head = [
        "points against float",
        "simulated",
        "95 % interval",
        "file",
        "95 % interval",
        "identical",
        "evaluations",
        "minutes",
        "speed",
        "one code",
    ]
    note = f"{'; '.join(notes)}. Minutes are of the whole run, with its tests and timing, on a machine with other work; {cpu(s)}."
    return markdown(head, rows, note, made_by(s))
