"""Every class of models: what was checked, and how close it is."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/models.py."""
    r = load_result(name)
    rows = [
        [
            f"`{x['class']}`",
            model,
            x["weights"],
            str(x["ops"]),
            str(x["ops_int8"]),
            f"{x['parity_float']:.0e}",
            f"{x['parity_file']:.1%}",
            ", ".join(target for target, found in x["targets"].items() if found["passed"]),
        ]
        for model, x in sorted(r["models"].items(), key=lambda item: (item[1]["weights"] != "real", item[1]["class"]))
    ]
    head = ["class", "checkpoint", "weights", "layers", "in int8", "float", "file", "passed"]
    note = (
        "Layers: linear layers and convolutions. Float: largest difference of a logit from transformers', as a share of their "
        "span. File: root mean square of the difference between file and simulation, or between a runtime and the file as "
        f"written. {len(r['recordings'])} recordings; {cpu(r)}."
    )
    return markdown(head, rows, note, made_by(r))
