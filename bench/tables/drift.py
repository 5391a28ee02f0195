"""What bench/drift.py found."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, markdown


def table(name: str) -> str:
    """False alarms and detection by model and condition."""
    rows, commands, machines = [], [], []
    for model, found in load_result(name)["models"].items():
        for kind, alarm in found["false_alarms"].items():
            rows.append(
                [model, f"the same kind: {kind}", f"{100 * alarm['rate']:.1f}% of {alarm['samples']}", "", "", ""]
            )
        for kind, c in found["conditions"].items():
            small = f"{100 * c['few']['detected']:.0f}%"
            layers = max(c[s]["activations"] for s in ("beyond", "wasserstein", "psi"))
            worst = max(("wasserstein", "psi"), key=lambda s: c[s]["value"] / c[s]["limit"])
            times = c[worst]["value"] / c[worst]["limit"]
            rows.append(
                [
                    model,
                    kind,
                    "told" if c["detected"] else "not told",
                    small,
                    f"{layers} of {found['activations']}",
                    f"{times:.1f} ({c[worst]['worst']})",
                ]
            )
        commands.append(f"`{found['command']}`")
        machines.append(cpu(found))
    head = ["speech", "told", "of 4 recordings", "layers beyond", "worst, times its limit"]
    note = (
        "Rate of false alarms told: 1 %. Parts are random parts of a second sample of the same kind against one calibration; "
        f"new divisions draw calibration and sample anew. {'; '.join(dict.fromkeys(machines))}."
    )
    return markdown(head, rows, note, "; ".join(dict.fromkeys(commands)))
