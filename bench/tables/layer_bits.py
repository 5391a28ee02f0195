"""What rounding each kind of layer alone costs at every width."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from tables.markdown import cpu, markdown

#: Nats above which a cell is bold: about a quarter of a point of error rate, by bench/objective.py.
BREAKS = 0.006


def table(name: str) -> str:
    """Of bench/layer_bits.py, two tables a model."""
    r = load_result(name)
    parts = [part for model, found in r["models"].items() for part in _model(model, found)]
    note = f"Thousandths of a nat a step, estimated; **bold**: above {1e3 * BREAKS:g}. {cpu(r)}."
    return "\n\n".join([*parts, note, "; ".join(f"`{m['command']}`" for m in r["models"].values())])


def _model(model: str, found: dict[str, Any]) -> list[str]:
    about = f"{found['utterances']} dev utterances of {' and '.join(found['data'])}"
    tables = []
    for what, title in (("activations", "inputs"), ("weights", "weights in groups of 32")):
        widths = list(next(iter(found[what].values())))
        rows = [
            [f"{kind} ({found['layers'][kind]})", *(_cell(row.get(width)) for width in widths)]
            for kind, row in found[what].items()
        ]
        head = [f"{model}, {title}", *(_bits(width) for width in widths)]
        total = ["all", *(_cell(sum(row.get(width, 0.0) for row in found[what].values())) for width in widths)]
        tables.append(markdown(head, [*rows, total]))
    return [*tables, f"{model}: {about}; in brackets, how many layers there are."]


def _bits(width: str) -> str:
    bits, _, way = width.partition(", ")
    return f"{bits} bits{f', {way}' if way else ''}"


def _cell(nats: float | None) -> str:
    if nats is None:
        return ""
    text = f"{1e3 * nats:.2g}" if 1e3 * nats < 99.5 else f"{1e3 * nats:.0f}"
    return f"**{text}**" if nats > BREAKS else text
