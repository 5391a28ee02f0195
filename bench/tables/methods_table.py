"""Every method at every width: points lost, divergence, and what a method needs; a table a model."""

from __future__ import annotations

from typing import Any

from result_path import load_result

from stablequant.widths import WIDTHS
from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/methods_table.py."""
    return "\n\n".join(_model(model, found) for model, found in load_result(name)["models"].items())


def _model(model: str, found: dict[str, Any]) -> str:
    rows = found["rows"]
    widths = [bits for bits in WIDTHS if any(r["bits"] == bits for r in rows)]
    by_place = {(r["method"], r["bits"]): r for r in rows}
    methods = list(dict.fromkeys(r["method"] for r in rows))
    words, nats = [], []
    for method in methods:
        own = [by_place.get((method, bits)) for bits in widths]
        known = [r for r in own if r]
        minutes = [r["minutes"] for r in known if r["minutes"] is not None]
        needs = [need for need, key in (("transcripts", "labels"), ("training", "training")) if known[0][key]]
        took = f"{min(minutes):.1f} to {max(minutes):.1f}" if minutes else ""
        words.append([method, *("" if r is None else _words(r) for r in own), " and ".join(needs), took])
        size = ", ".join("" if r is None else f"{r['bytes_ratio']:.3f}" for r in own)
        nats.append([method, *("" if r is None else _nats(r) for r in own), size])
    broken = found["broken"]
    note = (
        f"{model}: {found['words']} test words in {found['utterances']} utterances of {', '.join(found['data'])}, float "
        f"{found['float']:.2f} %; searches on {found['dev_utterances']} dev utterances, calibration on "
        f"{found['calibration_utterances']}, neither with transcripts unless a row needs them. In simulation. Minutes of "
        f"processor are the method's at one width, without the observation that all share; {cpu(found)}. *: broken, more than "
        f"{broken['nats']:g} nats a step on {broken['utterances']} utterances, and measured on these alone."
    )
    cost = ["needs", "minutes"]
    options = dict.fromkeys(r["option"] for r in rows if "option" in r)
    command = {"command": " ".join((found["command"], *options))}
    return "\n\n".join(
        (
            f"**{model}**: points of error rate lost against float (95 % interval)",
            markdown(["", *widths, *cost], words),
            f"**{model}**: divergence from float, nats a step (standard error)",
            markdown(["", *widths, "bytes of float32's, width by width"], nats, note, made_by(command)),
        )
    )


def _words(r: dict[str, Any]) -> str:
    low, high = r["delta_interval"]
    return f"{r['delta']:+.2f} ({low:+.2f} to {high:+.2f}){'*' if 'utterances' in r else ''}"


def _nats(r: dict[str, Any]) -> str:
    if r["divergence"] is None:
        return "not finite*"
    return f"{r['divergence']:.2g} ({r['divergence_error']:.1g}){'*' if 'utterances' in r else ''}"
