"""Recipes side by side, a row a model and recipe."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, markdown


def table(name: str) -> str:
    """Of bench/recipes.py."""
    s = load_result(name)
    rows, notes, commands, machines = [], [], [], []
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
                    f"{r['machine']['cores']}",
                    f"{r['single_code_ops']} of {r['ops']}",
                ]
            )
            commands.append(f"`{r['command']}`")
            machines.append(cpu(r).rpartition(",")[0])
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
        "cores",
        "one code",
    ]
    note = (
        f"{'; '.join(notes)}. Minutes are of the whole run, with its tests and timing, at times with other work "
        "beside it; speed is against float32 in ONNX Runtime, "
        f"one recording at a time, with as many threads as cores; {'; '.join(dict.fromkeys(machines))}."
    )
    return markdown(head, rows, note, "; ".join(dict.fromkeys(commands)))
